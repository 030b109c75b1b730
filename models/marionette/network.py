"""The whole network of parts: what is computed once for a target, and what for each frame (FIG. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.marionette.attention import AttentionMemory, ImageAttention
from models.marionette.config import NetworkConfig
from models.marionette.decoder import Aligned, Decoder
from models.marionette.driver_encoder import DriverEncoder
from models.marionette.flow import MESH_MAPS
from models.marionette.target_encoder import TargetEncoder

__all__ = ["MarionetteNetwork", "NetworkConfig", "TargetCode"]


class TargetCode(NamedTuple):
    """All of a target that does not depend on the driver; computed once, kept for the whole call.

    Attributes:
        memories: of each image attention block, ``[B, M, .]``.
        mask: ``[B, M]``, true where the memory holds a position of a photo (targets have 1..K photos); None
            if all do.
        normalised: mean over the photos of the pose-normalised features, finest first ([0193]).
    """

    memories: list[AttentionMemory]
    mask: Tensor | None
    normalised: list[Tensor]


class MarionetteNetwork(nn.Module):
    """Driver encoder, target encoder, image attention and decoder.

    Args:
        config: sizes.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        coarsest = channels[-1]
        # the drawing comes at half the picture's size: its lines carry no more detail than that
        stride = config.finest // 2
        self.driver_encoder = DriverEncoder(
            config.raster_channels, config.driver_channels, config.driver_stride
        )
        self.target_encoder = TargetEncoder(config.raster_channels, [*channels, coarsest], stride)
        self.attention = nn.ModuleList(
            ImageAttention(coarsest, coarsest, config.attention_channels)
            for _ in range(config.attention_blocks)
        )
        self.enter_driver = nn.Conv2d(coarsest + MESH_MAPS, coarsest, 1)
        self.decoder = Decoder(channels, channels, config.synthesis_channels, config.synthesis_cell)

    def encode_target(
        self, photos: Tensor, rasters: Tensor, mesh_maps: Tensor, present: Tensor
    ) -> TargetCode:
        """Encode the photos of each target of a batch.

        Args:
            photos: ``[B, K, 3, size, size]`` in -1..1; the first of each is the reference.
            rasters: their landmarks drawn, ``[B, K, raster_channels, size, size]``.
            mesh_maps: splats from the reference's landmarks to each photo's, ``[B, K, 6, h, w]`` at the
                coarsest scale.
            present: ``[B, K]``, false for the padding of targets that have fewer photos.
        """
        batch, count = present.shape
        encoded = self.target_encoder(photos.flatten(0, 1), rasters.flatten(0, 1), mesh_maps.flatten(0, 1))
        z_y = encoded.z_y.unflatten(0, (batch, count))
        weight = present.to(photos.dtype)[:, :, None, None, None]
        normalised = [
            (features.unflatten(0, (batch, count)) * weight).sum(1) / weight.sum(1)
            for features in encoded.normalised
        ]
        mask = present[:, :, None].expand(-1, -1, z_y.shape[-1] * z_y.shape[-2]).flatten(1)
        memories = [block.memory(z_y) for block in self.attention]  # type: ignore[operator]
        return TargetCode(memories, mask, normalised)

    def align(self, target: TargetCode, raster: Tensor, mesh_maps: Sequence[Tensor]) -> Aligned:
        """Bring each target into its driver's pose and expression; what is left is the photo's own alignment.

        Args:
            target: of the same batch.
            raster: retargeted driver landmarks drawn at half size,
                ``[B, raster_channels, size/2, size/2]``.
            mesh_maps: splats from the retargeted driver landmarks to the reference's, ``[B, 6, h, w]`` at
                each scale, finest first.
        """
        z_x = self.driver_encoder(raster)
        mixed = self.enter_driver(torch.cat((z_x, mesh_maps[-1]), dim=1))
        mask = None if target.mask is None or bool(target.mask.all()) else target.mask
        for block, memory in zip(self.attention, target.memories, strict=True):
            mixed = block(mixed, memory, mask)
        aligned: Aligned = self.decoder(mixed, target.normalised, mesh_maps)
        return aligned
