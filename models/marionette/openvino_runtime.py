"""The network in OpenVINO, which on CPUs with bfloat16 units takes a third of torch's time.

What depends on the target alone is computed once, by torch. The frame's two parts are traced from the same
network, without padding: one frame at a time, one compiled model for each number of target photos.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.generator import Picture
from models.marionette.attention import AttentionMemory
from models.marionette.network import MarionetteNetwork, TargetCode
from models.marionette.runtime import Float32, TorchRuntime
from models.mesh_maps import MAPS_SIZE, mesh_pyramid

__all__ = ["OpenVinoRuntime", "Precision", "bf16_is_fast"]

Precision = Literal["bf16", "f32"]


def bf16_is_fast() -> bool:
    """Whether this CPU has units for bfloat16.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoRuntime:
    """A network compiled by OpenVINO for the CPU.

    Args:
        network: in evaluation mode, single precision.
        precision: of the computation; ``bf16`` only pays where the CPU has units for it.
        threads: for one frame. Calls share few cores: a second one makes a frame a tenth quicker and costs
            three quarters more processor time.

    Raises:
        ImportError: OpenVINO is not installed.
    """

    best_batch = 1

    def __init__(
        self, network: MarionetteNetwork, precision: Precision = "bf16", *, threads: int = 1
    ) -> None:
        import openvino

        self._openvino = openvino
        self._core = openvino.Core()
        self._torch = TorchRuntime(network)
        self._network = network
        self.config = network.config
        self.name = f"openvino-{precision}"
        self._options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._lock = threading.Lock()  # targets are encoded on a thread of their own
        self._align: dict[int, Any] = {}
        self._synthesis: dict[int, Any] = {}

    def encode(self, photos: Picture, rasters: Picture, maps: Float32) -> TargetCode:
        """See :class:`models.marionette.runtime.Runtime`; compiles what this many photos need."""
        code = self._torch.encode(photos, rasters, maps)
        self._aligner(code)
        return code

    def align(self, codes: Sequence[TargetCode], rasters: Picture, maps: Float32) -> tuple[Any, Float32]:
        """See :class:`models.marionette.runtime.Runtime`."""
        aligned, corrections = [], []
        for index, code in enumerate(codes):
            one = slice(index, index + 1)
            inputs = [rasters[one], maps[one], *(part.numpy() for part in _parts(code))]
            u, correction = _run(self._aligner(code), inputs)
            aligned.append(u)
            corrections.append(correction[0])
        return aligned, np.stack(corrections)

    def synthesise(self, aligned: Any, photos: Picture) -> Picture:
        """See :class:`models.marionette.runtime.Runtime`."""
        request = self._synthesiser(aligned[0], photos)
        pictures = [_run(request, [u, photo[None]])[0] for u, photo in zip(aligned, photos, strict=True)]
        return np.concatenate(pictures)

    def _aligner(self, code: TargetCode) -> Any:
        with self._lock:
            positions = code.mask.shape[1]
            if positions not in self._align:
                half, parts = self.config.size // 2, _parts(code)
                raster = torch.zeros(1, half, half, self.config.raster_channels, dtype=torch.uint8)
                maps = torch.zeros(1, 6, MAPS_SIZE, MAPS_SIZE)
                self._align[positions] = self._compiled(_Align(self._network), (raster, maps, *parts))
            return self._align[positions]

    def _synthesiser(self, u: Float32, photos: Picture) -> Any:
        with self._lock:
            size = photos.shape[1]
            if size not in self._synthesis:
                example = (torch.from_numpy(np.array(u)), torch.from_numpy(photos[:1]))
                self._synthesis[size] = self._compiled(_Synthesise(self._network), example)
            return self._synthesis[size]

    def _compiled(self, module: nn.Module, example: tuple[Tensor, ...]) -> Any:
        with torch.inference_mode():
            model = self._openvino.convert_model(module.eval(), example_input=example)
        shapes = {
            index: self._openvino.PartialShape(list(value.shape)) for index, value in enumerate(example)
        }
        model.reshape(shapes)
        return self._core.compile_model(model, "CPU", self._options).create_infer_request()


class _Align(nn.Module):
    """From drawn landmarks, maps and a target's code to ``u`` and the learned flow, channels last."""

    def __init__(self, network: MarionetteNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, raster: Tensor, maps: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
        config = self.network.config
        blocks = config.attention_blocks
        memories = [AttentionMemory(*parts[2 * block : 2 * block + 2]) for block in range(blocks)]
        every = torch.ones(memories[0].key.shape[:2], dtype=torch.bool)
        code = TargetCode(memories, every, list(parts[2 * blocks :]))
        aligned = self.network.align(
            code, raster.permute(0, 3, 1, 2).float() / 255.0, mesh_pyramid(maps, config.resolutions)
        )
        return aligned.u, aligned.correction.permute(0, 2, 3, 1)


class _Synthesise(nn.Module):
    """From ``u`` and the aligned photo to the picture, both as bytes, channels last."""

    def __init__(self, network: MarionetteNetwork) -> None:
        super().__init__()
        self.decoder = network.decoder

    def forward(self, u: Tensor, photo: Tensor) -> Tensor:
        picture = self.decoder.synthesise(u, photo.permute(0, 3, 1, 2).float() / 127.5 - 1.0)
        whole = ((picture + 1.0) * 127.5).round().clamp(0, 255)
        return whole.permute(0, 2, 3, 1).to(torch.uint8)


def _parts(code: TargetCode) -> list[Tensor]:
    """All of a code's tensors but its mask, which is true throughout in a batch of one."""
    return [*(tensor for memory in code.memories for tensor in memory), *code.normalised]


def _run(request: Any, inputs: list[Any]) -> list[Any]:
    """Outputs, copied: the request's own are overwritten by its next run."""
    results = request.infer(inputs, share_inputs=True)
    return [np.array(results[index]) for index in range(len(results))]
