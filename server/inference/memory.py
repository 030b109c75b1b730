"""Frames between two processes: a mailbox of anonymous shared memory in which the newest frame wins.

A mailbox has three buffers, and a token for each. Only who holds a buffer's token may touch the buffer.
Tokens lie in two pipes: ``free`` holds those of buffers to write into, ``full`` at most one, with a note that
describes its frame. The writer takes back what the reader has not taken yet before it puts in something
newer; with three buffers it always finds one. So:

- a frame is never torn: writer and reader never hold the same buffer, on no kind of processor, since the
  pipes' system calls also order memory between them;
- nobody waits for anybody, and a killed process leaves no lock behind. The buffer it held is lost to its
  mailbox, and the mailbox goes with the process;
- nothing outlives the processes: memory and pipes have no names;
- a mailbox belongs to one driver and is made anew for the next one, zeroed by the kernel.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

BUFFERS: Final = 3
#: A token and its note are written to a pipe whole or not at all up to this size (POSIX).
MAX_NOTE: Final = 511
_PAGE: Final = 4096
_NONE: Final[Bytes] = np.zeros((BUFFERS, 0), np.uint8)


class WriterEnd(NamedTuple):
    """File descriptors of a mailbox's writer."""

    memory: int
    full_read: int
    full_write: int
    free_read: int


class ReaderEnd(NamedTuple):
    """File descriptors of a mailbox's reader."""

    memory: int
    full_read: int
    free_write: int


def make_mailbox(frame_bytes: int) -> tuple[WriterEnd, ReaderEnd]:
    """File descriptors of both ends of a new mailbox for frames of at most ``frame_bytes`` bytes.

    The memory takes no room before it is written to.

    Raises:
        OSError: the process has too many files open, or the system no memory.
    """
    opened: list[int] = []
    try:
        memory = _anonymous_file(BUFFERS * _stride(frame_bytes))
        opened.append(memory)
        full_read, full_write = _pipe(opened)
        free_read, free_write = _pipe(opened)
        os.write(free_write, bytes(range(BUFFERS)))
        writer = WriterEnd(memory, full_read, full_write, free_read)
        for descriptor in (memory, full_read):
            opened.append(os.dup(descriptor))
        return writer, ReaderEnd(opened[-2], opened[-1], free_write)
    except OSError:
        close_all(opened)
        raise


def close_all(descriptors: Sequence[int]) -> None:
    """Close file descriptors, whether they are open or not."""
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


class _MailboxEnd:
    """What both ends have in common: descriptors and mapped buffers, given back together."""

    _end: WriterEnd | ReaderEnd | None
    _buffers: Bytes

    def _map(self, frame_bytes: int, access: int) -> None:
        """Map the buffers, or close the end: nobody else has its descriptors."""
        assert self._end is not None
        try:
            # Beside memory this takes a descriptor: there may be none.
            memory = mmap.mmap(self._end.memory, BUFFERS * _stride(frame_bytes), access=access)
        except BaseException:
            self.close()
            raise
        self._buffers = np.frombuffer(memory, np.uint8).reshape(BUFFERS, -1)[:, :frame_bytes]

    def close(self) -> None:
        """Give memory and pipes back."""
        if self._end is not None:
            close_all(self._end)
            self._end = None
        self._buffers = _NONE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FrameWriter(_MailboxEnd):
    """The end that frames are put in at.

    Args:
        end: closed with this object, and at once if there can be none.
        frame_bytes: as given to :func:`make_mailbox`.

    Raises:
        OSError: the process has too many files open, or the system no memory.
    """

    def __init__(self, end: WriterEnd, frame_bytes: int) -> None:
        self._end: WriterEnd | None = end
        self._map(frame_bytes, mmap.ACCESS_WRITE)
        self._held: int | None = None
        self._spare: list[int] = []  # tokens of frames taken back

    def begin(self) -> Bytes:
        """A buffer to write a frame into, ``[frame_bytes]``; the same one until :meth:`publish`.

        Raises:
            BufferError: the reader keeps more than one buffer, which is an error in it.
        """
        if self._held is None:
            self._held = self._take_token()
        return self._buffers[self._held]

    def publish(self, note: bytes) -> bool:
        """Let the reader have the buffer of the last :meth:`begin`.

        Args:
            note: at most :data:`MAX_NOTE` bytes that describe the frame.

        Returns:
            Whether this overtook a frame that the reader had not taken.

        Raises:
            ValueError: no buffer was begun, or the note is too long.
        """
        if self._held is None or self._end is None:
            raise ValueError("no buffer was begun")
        if len(note) > MAX_NOTE:
            raise ValueError(f"a note of {len(note)} bytes; {MAX_NOTE} are the most")
        overtaken = _read(self._end.full_read)
        if overtaken:
            self._spare.append(overtaken[0])
        # Only this process puts anything in, so there is room.
        os.write(self._end.full_write, bytes([self._held]) + note)
        self._held = None
        return bool(overtaken)

    def _take_token(self) -> int:
        if self._spare:
            return self._spare.pop()
        if self._end is None:
            raise BufferError("the mailbox is closed")
        for pipe, length in ((self._end.free_read, 1), (self._end.full_read, MAX_NOTE + 1)):
            if token := _read(pipe, length):
                return token[0]
        raise BufferError("no buffer is free")


class FrameReader(_MailboxEnd):
    """The end that frames are taken out at; it cannot write into the memory.

    Args:
        end: closed with this object, and at once if there can be none.
        frame_bytes: as given to :func:`make_mailbox`.

    Raises:
        OSError: the process has too many files open, or the system no memory.
    """

    def __init__(self, end: ReaderEnd, frame_bytes: int) -> None:
        self._end: ReaderEnd | None = end
        self.ended = False  # the writer is gone, and nothing more will come
        self._map(frame_bytes, mmap.ACCESS_READ)

    def fileno(self) -> int:
        """Readable while a frame is there; -1 after closing."""
        return -1 if self._end is None else self._end.full_read

    @contextmanager
    def newest(self) -> Iterator[tuple[bytes, Bytes] | None]:
        """Hold the newest frame: its note and its buffer ``[frame_bytes]``; None when there is no new one.

        The buffer must not be used after the ``with`` block.
        """
        record = self._take()
        if not record or record[0] >= BUFFERS:
            yield None
            return
        try:
            yield record[1:], self._buffers[record[0]]
        finally:
            if self._end is not None:
                with suppress(OSError):  # the writer is gone: nobody needs the buffer any more
                    os.write(self._end.free_write, record[:1])

    def _take(self) -> bytes:
        if self._end is None:
            return b""
        try:
            record = os.read(self._end.full_read, MAX_NOTE + 1)
        except BlockingIOError:
            return b""
        self.ended = not record
        return record


def _stride(frame_bytes: int) -> int:
    """Distance between buffers: whole pages."""
    return -(-frame_bytes // _PAGE) * _PAGE


def _anonymous_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("understudy-frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _pipe(opened: list[int]) -> tuple[int, int]:
    ends = os.pipe()
    opened.extend(ends)
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _read(descriptor: int, length: int = MAX_NOTE + 1) -> bytes:
    """What is in a pipe; nothing when it is empty or its writers are gone."""
    try:
        return os.read(descriptor, length)
    except BlockingIOError:
        return b""
