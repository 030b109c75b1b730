"""Runs the frame program on batches: directly, or as CUDA graphs with copies beside the computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.generator import Picture
from models.landmarks.topology import LANDMARK_COUNT
from models.marionette.packing import Layout

__all__ = ["Batch", "CudaExecutor", "EagerExecutor", "Executor", "executor_for"]

Program = Callable[[dict[str, Tensor], Tensor], Tensor]


class Batch(NamedTuple):
    """A full rung.

    Attributes:
        layout: of the targets.
        targets: each packed, on the device.
        landmarks: ``[B, 478, 3]``.
    """

    layout: Layout
    targets: list[Tensor]
    landmarks: npt.NDArray[np.float32]


class Executor(Protocol):
    """Runs a program on batches, one after another."""

    def run(self, batches: Sequence[Batch]) -> list[Picture]:
        """Pictures ``[B, S, S, 3]`` of each batch."""
        ...


def executor_for(device: torch.device, program: Program) -> Executor:
    """The one place that asks for the kind of device."""
    return CudaExecutor(device, program) if device.type == "cuda" else EagerExecutor(device, program)


class EagerExecutor:
    """Runs the program's operations one by one, on any device."""

    def __init__(self, device: torch.device, program: Program) -> None:
        self._device = device
        self._program = program

    @torch.inference_mode()
    def run(self, batches: Sequence[Batch]) -> list[Picture]:
        """See :class:`Executor`."""
        pictures = []
        for layout, targets, landmarks in batches:
            shown = torch.from_numpy(landmarks).to(self._device)
            pictures.append(self._program(layout.unpack(torch.stack(targets)), shown).cpu().numpy())
        return pictures


class CudaExecutor:
    """Replays a captured graph for each layout and batch size.

    Two sets of buffers take turns, and upload, computation and download have a stream each: while one batch
    is computed, the next one's landmarks go up and the former one's pictures come down. Graphs are captured
    when a batch of their size first comes.
    """

    def __init__(self, device: torch.device, program: Program) -> None:
        self._device = device
        self._program = program
        self._upload, self._compute, self._download = (torch.cuda.Stream(device) for _ in range(3))
        self._pool = torch.cuda.graph_pool_handle()
        self._slots: dict[tuple[int, int, int], _Slot] = {}

    @torch.inference_mode()
    def run(self, batches: Sequence[Batch]) -> list[Picture]:
        """See :class:`Executor`."""
        pictures: list[Picture] = []
        running: list[_Slot] = []
        for index, batch in enumerate(batches):
            if len(running) == 2:  # the buffers of the batch before the last one are needed
                pictures.append(running.pop(0).finish())
            slot = self._slot(batch, index % 2)
            slot.start(batch, self._upload, self._compute, self._download)
            running.append(slot)
        return pictures + [slot.finish() for slot in running]

    def _slot(self, batch: Batch, turn: int) -> _Slot:
        key = id(batch.layout), len(batch.targets), turn
        if key not in self._slots:
            self._compute.synchronize()  # nothing else may run on this thread's streams while it captures
            self._slots[key] = _Slot(batch, self._program, self._device, self._compute, self._pool)
        return self._slots[key]


class _Slot:
    """A captured graph and the buffers that it reads and writes."""

    def __init__(
        self, batch: Batch, program: Program, device: torch.device, stream: torch.cuda.Stream, pool: Any
    ) -> None:
        count = len(batch.targets)
        # kept with the graph, so that no other layout can get this one's identity
        self._layout = batch.layout
        self._packed = torch.zeros(count, batch.layout.size, dtype=torch.uint8, device=device)
        self._held: list[Tensor | None] = [None] * count
        self._shown = torch.zeros(count, LANDMARK_COUNT, 3, device=device)
        self._pinned_shown = torch.zeros(count, LANDMARK_COUNT, 3).pin_memory()
        self._uploaded, self._computed, self._done = (torch.cuda.Event() for _ in range(3))
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            self._put(batch)
            self._shown.copy_(torch.from_numpy(batch.landmarks))
            for _ in range(3):  # what is made late, and libraries' choices, must not be captured
                program(self._layout.unpack(self._packed), self._shown)
        stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # targets are encoded on another thread meanwhile; that must not end this thread's capture
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._pictures = program(self._layout.unpack(self._packed), self._shown)
        self._pinned_pictures = torch.empty(self._pictures.shape, dtype=torch.uint8).pin_memory()

    def start(
        self,
        batch: Batch,
        upload: torch.cuda.Stream,
        compute: torch.cuda.Stream,
        download: torch.cuda.Stream,
    ) -> None:
        """Begin with a batch; :meth:`finish` must have been called for the former one."""
        self._pinned_shown.copy_(torch.from_numpy(batch.landmarks))
        with torch.cuda.stream(upload):
            self._shown.copy_(self._pinned_shown, non_blocking=True)
            self._uploaded.record(upload)
        with torch.cuda.stream(compute):
            self._put(batch)
            compute.wait_event(self._uploaded)
            self._graph.replay()
            self._computed.record(compute)
        with torch.cuda.stream(download):
            download.wait_event(self._computed)
            self._pinned_pictures.copy_(self._pictures, non_blocking=True)
            self._done.record(download)

    def finish(self) -> Picture:
        """Wait for the pictures."""
        self._done.synchronize()
        return self._pinned_pictures.numpy().copy()

    def _put(self, batch: Batch) -> None:
        """Copy targets into their rows; ones that are there from the last batch stay."""
        for row, target in enumerate(batch.targets):
            if self._held[row] is not target:
                self._packed[row].copy_(target, non_blocking=True)
                self._held[row] = target
