"""The network in OpenVINO, which on CPUs with bfloat16 or 8-bit units takes a third of torch's time.

Loads no torch.

Its graphs are compiled in each process anew: OpenVINO's own cache of compiled models was measured to save a
tenth of a second of half a second.

One frame at a time, without padding: one compiled model for each number of target photos.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from models.concurrency import at_once
from models.generator import Picture
from models.marionette.runtime import Float32
from models.marionette.weights import NetworkWeights, weights_of

if TYPE_CHECKING:
    from models.marionette.network import MarionetteNetwork

__all__ = ["OpenVinoRuntime", "Precision", "bf16_is_fast", "int8_is_fast"]

Precision = Literal["int8", "bf16", "f32"]
_CPU_INFO: Final = Path("/proc/cpuinfo")
#: What multiplies 8-bit integers and adds the products up in one instruction, by Linux' names: VNNI and AMX.
_INT8_UNITS: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def bf16_is_fast() -> bool:
    """Whether this CPU has units for bfloat16.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    return _can("BF16")


def int8_is_fast() -> bool:
    """Whether this CPU has units for 8-bit integers; where that cannot be read it has none.

    OpenVINO says of every CPU that it can compute in 8 bits: without such units, in more instructions.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    return _can("INT8") and not _INT8_UNITS.isdisjoint(_cpu_flags())


def _can(precision: str) -> bool:
    from models.marionette.silent_openvino import core

    return precision in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _cpu_flags() -> set[str]:
    """What Linux says that this CPU can do; elsewhere nothing."""
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


@dataclass(frozen=True)
class _Code:
    """A target: keys and values of each attention block, then the normalised features."""

    parts: list[Float32]

    @property
    def positions(self) -> int:
        return int(self.parts[0].shape[1])


class OpenVinoRuntime:
    """A network compiled by OpenVINO for the CPU.

    Args:
        network: or its weights alone.
        precision: of the computation; ``bf16`` only pays where the CPU has units for it. ``int8`` is that of
            the large convolutions, the rest is computed in bf16 or f32, whichever is quicker.
        threads: for one frame. Calls share few cores: a second one makes a frame a third quicker and costs a
            third more processor time.

    Frames may be made in several threads at once; as many as there are cores (see
    :func:`models.concurrency.at_once`) do not wait for each other.

    Raises:
        ImportError: OpenVINO is not installed.
        KeyError: a parameter is missing.
        ValueError: ``int8``, but nobody measured the activation ranges of this network.
    """

    best_batch = 1

    def __init__(
        self,
        network: MarionetteNetwork | NetworkWeights,
        precision: Precision = "bf16",
        *,
        threads: int = 1,
    ) -> None:
        from models.marionette.openvino_graph import Graphs
        from models.marionette.silent_openvino import core

        streams = max(1, at_once() // threads)
        weights = network if isinstance(network, NetworkWeights) else weights_of(network)
        self.config = weights.config
        self.name = f"openvino-{precision}"
        self._core = core
        if precision == "int8" and not weights.ranges:
            raise ValueError(
                "without activation ranges there is no 8-bit arithmetic: understudy train calibrate"
            )
        ranges = weights.ranges if precision == "int8" else None
        self._graphs = Graphs(weights.config, weights.arrays, ranges)
        self._options = {
            "INFERENCE_PRECISION_HINT": ("bf16" if bf16_is_fast() else "f32") if ranges else precision,
            "INFERENCE_NUM_THREADS": threads * streams,
            "NUM_STREAMS": streams,
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._lock = threading.Lock()
        self._compiled: dict[tuple[str, int], Any] = {}
        self._requests = threading.local()  # one keeps its inputs and outputs: each thread has its own

    def encode(self, photos: Picture, rasters: Picture, maps: Float32) -> _Code:
        """See :class:`models.marionette.runtime.Runtime`; compiles what this many photos need."""
        encoder = self._model("encoder", 0, self._graphs.encoder)
        encoded = [
            _run(encoder, [photos[one], rasters[one], maps[one]])
            for one in (slice(index, index + 1) for index in range(len(photos)))
        ]
        memory = 2 * self.config.attention_blocks
        parts = [
            np.concatenate(part, axis=1) if index < memory else np.mean(part, axis=0)
            for index, part in enumerate(zip(*encoded, strict=True))
        ]
        code = _Code([np.ascontiguousarray(part, np.float32) for part in parts])
        self._aligner(code)
        return code

    def align(self, codes: Sequence[Any], rasters: Picture, maps: Float32) -> tuple[Any, Float32]:
        """See :class:`models.marionette.runtime.Runtime`."""
        aligned, corrections = [], []
        for index, code in enumerate(codes):
            one = slice(index, index + 1)
            u, correction = _run(self._aligner(code), [rasters[one], maps[one], *code.parts])
            aligned.append(u)
            corrections.append(correction[0])
        return aligned, np.stack(corrections)

    def synthesise(self, aligned: Any, photos: Picture) -> Picture:
        """See :class:`models.marionette.runtime.Runtime`."""
        size, cell = photos.shape[1], self.config.synthesis_cell
        request = self._model("synthesiser", size, lambda: self._graphs.synthesiser(size))
        pictures = [
            _pixels(_run(request, [u, _cells(photo, cell)[None]])[0][0], cell)
            for u, photo in zip(aligned, photos, strict=True)
        ]
        return np.stack(pictures)

    def _aligner(self, code: _Code) -> Any:
        return self._model("aligner", code.positions, lambda: self._graphs.aligner(code.positions))

    def _model(self, part: str, variant: int, build: Callable[[], Any]) -> Any:
        """This thread's request of a compiled part of the network, which is compiled once for all."""
        requests: dict[tuple[str, int], Any] | None = getattr(self._requests, "made", None)
        if requests is None:
            requests = self._requests.made = {}
        if (part, variant) not in requests:
            with self._lock:
                if (part, variant) not in self._compiled:
                    self._compiled[part, variant] = self._core.compile_model(build(), "CPU", self._options)
                requests[part, variant] = self._compiled[part, variant].create_infer_request()
        return requests[part, variant]


def _run(request: Any, inputs: list[Any]) -> list[Any]:
    """Outputs, copied: the request's own are overwritten by its next run."""
    results = request.infer(inputs, share_inputs=True)
    return [np.array(results[index]) for index in range(len(results))]


def _cells(picture: Picture, cell: int) -> Picture:
    """``[S, S, 3]`` to ``[S/cell, S/cell, 3*cell*cell]``: a cell's pixels row by row."""
    side = len(picture) // cell
    return _swapped(picture.reshape(side, cell, side, 3 * cell)).reshape(side, side, -1)


def _pixels(cells: Picture, cell: int) -> Picture:
    """The inverse of :func:`_cells`."""
    side = len(cells)
    return _swapped(cells.reshape(side, side, cell, 3 * cell)).reshape(side * cell, side * cell, 3)


def _swapped(parts: Picture) -> Picture:
    """The two middle axes exchanged; the last one's bytes move as one, which takes half the time."""
    whole = parts.view(f"V{parts.shape[-1]}")
    return np.ascontiguousarray(whole.swapaxes(1, 2)).view(np.uint8)
