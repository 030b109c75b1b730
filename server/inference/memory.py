"""Frames between two processes: anonymous shared memory in which the newest frame wins.

Each slot has three buffers that its only writer uses in turn. Which buffer holds which frame is told by a
message on a socket (whose system calls also order memory between processors); a stamp beside each buffer
shows a reader that came too late that the frame was overwritten under it. Nobody ever holds a lock, so a
process that is killed leaves none behind; the memory has no name, so it leaves no file behind either.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

BUFFERS = 3
_PAGE = 4096


def shared_file(size: int) -> int:
    """A file descriptor of ``size`` bytes of anonymous memory that a child process may inherit."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("understudy-frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    os.set_inheritable(descriptor, True)
    return descriptor


@dataclass(frozen=True)
class FrameRef:
    """Where a frame lies.

    Attributes:
        buffer: 0..2.
        stamp: of the buffer when the frame was written; even.
        width, height: of the picture, pixels.
    """

    buffer: int
    stamp: int
    width: int
    height: int


class FrameSlots:
    """Buffers of I420 frames for a fixed number of slots, mapped by both processes.

    Args:
        descriptor: of :func:`shared_file`, at least :meth:`bytes_needed` large.
        slots: how many.
        frame_bytes: the largest frame.
    """

    def __init__(self, descriptor: int, slots: int, frame_bytes: int) -> None:
        self._stride = -(-frame_bytes // _PAGE) * _PAGE
        self._map = mmap.mmap(descriptor, self.bytes_needed(slots, frame_bytes))
        count = slots * BUFFERS
        self._stamps = np.frombuffer(self._map, np.int64, count).reshape(slots, BUFFERS)
        self._frames = np.frombuffer(self._map, np.uint8, offset=self._header(slots)).reshape(
            slots, BUFFERS, self._stride
        )
        self._next = [0] * slots

    @staticmethod
    def bytes_needed(slots: int, frame_bytes: int) -> int:
        """Size of the memory."""
        stride = -(-frame_bytes // _PAGE) * _PAGE
        return FrameSlots._header(slots) + slots * BUFFERS * stride

    @staticmethod
    def _header(slots: int) -> int:
        return -(-slots * BUFFERS * 8 // _PAGE) * _PAGE

    def begin(self, slot: int, width: int, height: int) -> tuple[FrameRef, Bytes]:
        """Start writing a frame: its buffer, ``[height * 3 // 2, width]``. Only the slot's one writer may.

        Raises:
            ValueError: the frame is larger than the slots.
        """
        size = width * height * 3 // 2
        if size > self._stride:
            raise ValueError(f"a frame of {width}x{height} does not fit into {self._stride} bytes")
        buffer = self._next[slot]
        self._next[slot] = (buffer + 1) % BUFFERS
        stamp = (int(self._stamps[slot, buffer]) | 1) + 1
        self._stamps[slot, buffer] = stamp - 1  # odd: being written
        pixels = self._frames[slot, buffer, :size].reshape(height * 3 // 2, width)
        return FrameRef(buffer, stamp, width, height), pixels

    def finish(self, slot: int, frame: FrameRef) -> None:
        """The frame is whole."""
        self._stamps[slot, frame.buffer] = frame.stamp

    def view(self, slot: int, frame: FrameRef) -> Bytes:
        """The frame in place; what is read of it counts only if :meth:`intact` holds afterwards."""
        size = frame.width * frame.height * 3 // 2
        return self._frames[slot, frame.buffer, :size].reshape(frame.height * 3 // 2, frame.width)

    def intact(self, slot: int, frame: FrameRef) -> bool:
        """Whether the frame has not been overwritten since it was finished."""
        return bool(self._stamps[slot, frame.buffer] == frame.stamp)

    def copy(self, slot: int, frame: FrameRef) -> Bytes | None:
        """A copy of the frame; None if it was overwritten before or meanwhile."""
        if not self.intact(slot, frame):
            return None
        copied = self.view(slot, frame).copy()
        return copied if self.intact(slot, frame) else None
