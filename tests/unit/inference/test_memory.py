"""Frames in shared memory between two real processes: never torn, newest wins."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from server.inference.memory import BUFFERS, FrameRef, FrameSlots, shared_file
from server.inference.messages import Channel, Done

WIDTH, HEIGHT = 320, 240
BYTES = WIDTH * HEIGHT * 3 // 2

WRITER = """
import socket, sys, time
from server.inference.memory import FrameSlots
from server.inference.messages import Channel, Done
channel = Channel(socket.socket(fileno=int(sys.argv[1])))
slots = FrameSlots(int(sys.argv[2]), 1, {bytes})
end = time.monotonic() + 1.5
value = 0
while time.monotonic() < end:
    value = (value + 1) % 251
    frame, pixels = slots.begin(0, {width}, {height})
    pixels[:] = value
    slots.finish(0, frame)
    channel.send(Done(0, value, "live", frame, 0.0))
"""


@pytest.fixture
def slots() -> FrameSlots:
    descriptor = shared_file(FrameSlots.bytes_needed(2, BYTES))
    made = FrameSlots(descriptor, 2, BYTES)
    os.close(descriptor)
    return made


def write(slots: FrameSlots, slot: int, value: int) -> FrameRef:
    frame, pixels = slots.begin(slot, WIDTH, HEIGHT)
    pixels[:] = value
    slots.finish(slot, frame)
    return frame


def test_a_frame_arrives_as_it_was_written(slots: FrameSlots) -> None:
    frame = write(slots, 1, 7)
    copied = slots.copy(1, frame)
    assert copied is not None
    assert copied.shape == (HEIGHT * 3 // 2, WIDTH)
    assert (copied == 7).all()


def test_an_overwritten_frame_is_noticed(slots: FrameSlots) -> None:
    first = write(slots, 0, 1)
    for value in range(2, 2 + BUFFERS):
        write(slots, 0, value)
    assert slots.copy(0, first) is None


def test_a_frame_in_the_making_is_not_read(slots: FrameSlots) -> None:
    first = write(slots, 0, 1)
    for value in range(BUFFERS - 1):
        write(slots, 0, value)
    slots.begin(0, WIDTH, HEIGHT)  # the first frame's buffer, and never finished: its writer was killed
    assert slots.copy(0, first) is None


def test_slots_do_not_touch(slots: FrameSlots) -> None:
    frame = write(slots, 0, 9)
    for value in range(5):
        write(slots, 1, value)
    copied = slots.copy(0, frame)
    assert copied is not None
    assert (copied == 9).all()


def test_a_frame_too_large_is_refused(slots: FrameSlots) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        slots.begin(0, 4096, 2160)


def test_no_frame_is_torn_while_another_process_writes_as_fast_as_it_can() -> None:
    descriptor = shared_file(FrameSlots.bytes_needed(1, BYTES))
    ours, theirs = Channel.pair()
    script = WRITER.format(bytes=BYTES, width=WIDTH, height=HEIGHT)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(theirs.fileno()), str(descriptor)],
        pass_fds=(theirs.fileno(), descriptor),
    ) as writer:
        theirs.close()
        slots = FrameSlots(descriptor, 1, BYTES)
        channel = Channel(ours)
        whole = 0
        while True:
            try:
                message = channel.receive()
            except EOFError:
                break
            if not isinstance(message, Done) or message.frame is None:
                time.sleep(0.0002)
                continue
            copied = slots.copy(0, message.frame)
            if copied is not None:
                assert (copied == message.epoch).all()
                whole += 1
        assert writer.wait(5) == 0
    os.close(descriptor)
    assert whole > 20


def test_a_reader_that_does_not_read_never_blocks_the_sender() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ours)
    sent = [channel.send(Done(0, n, "live", None, np.pi)) for n in range(20_000)]
    assert sent[0]
    assert not sent[-1]
    theirs.close()
