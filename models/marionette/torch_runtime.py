"""The network in torch, on any device, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.generator import Picture
from models.marionette.attention import AttentionMemory
from models.marionette.network import MarionetteNetwork, TargetCode
from models.marionette.runtime import Float32
from models.mesh_maps import mesh_pyramid

__all__ = ["TorchRuntime", "join_codes"]


class TorchRuntime:
    """Torch, on any device, in batches.

    Args:
        network: trained, or untrained, which changes nothing about the mesh warp.
        device, precision: of the computation.
    """

    name = "torch"

    def __init__(
        self, network: MarionetteNetwork, *, device: str = "cpu", precision: torch.dtype = torch.float32
    ) -> None:
        self.config = network.config
        self.device = torch.device(device)
        # on a processor what one frame needs fits its caches, what many need does not
        self.best_batch = 64 if self.device.type == "cuda" else 1
        self._precision = precision
        self.network = network.to(self.device, precision).eval().requires_grad_(False)
        if self.device.type == "cuda":  # the order in which its convolutions are quickest
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def encode(self, photos: Picture, rasters: Picture, maps: Float32) -> TargetCode:
        """See :class:`Runtime`."""
        coarsest = mesh_pyramid(self._maps(maps), self.config.resolutions[-1:])[0]
        present = torch.ones(1, len(photos), dtype=torch.bool, device=self.device)
        return self.network.encode_target(
            self._picture(photos)[None], self._raster(rasters)[None], coarsest[None], present
        )

    @torch.inference_mode()
    def align(self, codes: Sequence[TargetCode], rasters: Picture, maps: Float32) -> tuple[Any, Float32]:
        """See :class:`Runtime`."""
        pyramid = mesh_pyramid(self._maps(maps), self.config.resolutions)
        aligned = self.network.align(join_codes(codes), self._raster(rasters), pyramid)
        return aligned.u, aligned.correction.float().permute(0, 2, 3, 1).cpu().numpy()

    @torch.inference_mode()
    def synthesise(self, aligned: Any, photos: Picture) -> Picture:
        """See :class:`Runtime`."""
        pictures = self.network.decoder.synthesise(aligned, self._picture(photos))
        whole = ((pictures.float() + 1.0) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
        return np.ascontiguousarray(whole.permute(0, 2, 3, 1).cpu().numpy())

    def _picture(self, pictures: Picture) -> Tensor:
        """``[B, S, S, 3]`` to ``[B, 3, S, S]`` in -1..1."""
        return self._channels_first(pictures) / 127.5 - 1.0

    def _raster(self, rasters: Picture) -> Tensor:
        """``[B, S, S, 3]`` to ``[B, 3, S, S]`` in 0..1."""
        return self._channels_first(rasters) / 255.0

    def _channels_first(self, pictures: Picture) -> Tensor:
        return torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).to(self._precision)

    def _maps(self, maps: Float32) -> Tensor:
        return torch.from_numpy(maps).to(self.device, self._precision)


def join_codes(codes: Sequence[TargetCode]) -> TargetCode:
    """One batch of several targets' codes; shorter memories are padded and masked."""
    if len(codes) == 1:
        return codes[0]
    masks = [code.mask for code in codes if code.mask is not None]
    longest = max(mask.shape[1] for mask in masks)

    def padded(tensor: Tensor) -> Tensor:
        missing = longest - tensor.shape[1]
        if not missing:
            return tensor
        return F.pad(tensor, (0, missing) if tensor.dim() == 2 else (0, 0, 0, missing))

    blocks = zip(*(code.memories for code in codes), strict=True)
    return TargetCode(
        [
            AttentionMemory(
                torch.cat([padded(memory.key) for memory in block]),
                torch.cat([padded(memory.value) for memory in block]),
            )
            for block in blocks
        ],
        torch.cat([padded(mask) for mask in masks]),
        [torch.cat(scale) for scale in zip(*(code.normalised for code in codes), strict=True)],
    )
