"""Frames in shared memory between two real processes: never torn, newest wins, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from server.inference.memory import (
    BUFFERS,
    MAX_NOTE,
    FrameReader,
    FrameWriter,
    close_all,
    make_mailbox,
)
from server.inference.messages import Alive, Channel, PictureNote

FRAME = 320 * 240 * 3 // 2

WRITER = """
import sys, time
from server.inference.memory import FrameWriter, WriterEnd
writer = FrameWriter(WriterEnd(*map(int, sys.argv[1:5])), {frame})
end = time.monotonic() + {seconds}
value = 0
while time.monotonic() < end:
    value = (value + 1) % 251
    writer.begin()[:] = value
    writer.publish(bytes([value]))
"""


@pytest.fixture
def mailbox() -> Iterator[tuple[FrameWriter, FrameReader]]:
    writer_end, reader_end = make_mailbox(FRAME)
    with FrameWriter(writer_end, FRAME) as writer, FrameReader(reader_end, FRAME) as reader:
        yield writer, reader


def put(writer: FrameWriter, value: int) -> bool:
    writer.begin()[:] = value
    return writer.publish(bytes([value]))


def take(reader: FrameReader) -> int | None:
    with reader.newest() as frame:
        if frame is None:
            return None
        note, pixels = frame
        assert pixels.shape == (FRAME,)
        assert (pixels == note[0]).all()
        return note[0]


def start_writer(seconds: float) -> tuple[subprocess.Popen[bytes], FrameReader]:
    writer_end, reader_end = make_mailbox(FRAME)
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER.format(frame=FRAME, seconds=seconds), *map(str, writer_end)],
        pass_fds=writer_end,
    )
    close_all(writer_end)
    return process, FrameReader(reader_end, FRAME)


def test_a_frame_arrives_once_as_it_was_written(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, reader = mailbox
    assert take(reader) is None
    assert put(writer, 7) is False
    assert take(reader) == 7
    assert take(reader) is None


def test_the_newest_wins(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, reader = mailbox
    assert [put(writer, value) for value in range(1, 101)] == [False] + 99 * [True]
    assert take(reader) == 100
    assert take(reader) is None


def test_what_the_reader_holds_is_not_touched(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, reader = mailbox
    put(writer, 1)
    with reader.newest() as frame:
        assert frame is not None
        for value in range(2, 50):
            put(writer, value)
        assert (frame[1] == 1).all()
    assert take(reader) == 49


def test_a_frame_in_the_making_is_not_seen(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, reader = mailbox
    put(writer, 1)
    writer.begin()[:] = 2
    assert take(reader) == 1
    assert take(reader) is None
    writer.publish(b"\x02")
    assert take(reader) == 2


def test_no_buffer_is_ever_lost(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, reader = mailbox
    random = np.random.default_rng(0)
    newest = None
    for value in random.integers(0, 251, 500).tolist():
        if random.random() < 0.6:
            put(writer, value)
            newest = value
        else:
            assert take(reader) == newest
            newest = None
    with contextlib.suppress(ZeroDivisionError), reader.newest():
        put(writer, 1)
        raise ZeroDivisionError
    for _ in range(2 * BUFFERS):
        put(writer, 9)
        assert take(reader) == 9


def test_the_reader_cannot_write(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, reader = mailbox
    put(writer, 1)
    with reader.newest() as frame:
        assert frame is not None
        with pytest.raises(ValueError, match="read-only"):
            frame[1][0] = 2


def test_new_memory_is_blank(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    put(mailbox[0], 200)
    writer_end, reader_end = make_mailbox(FRAME)
    with FrameWriter(writer_end, FRAME) as writer, FrameReader(reader_end, FRAME):
        assert not writer.begin().any()


def test_a_frame_wakes_who_polls(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, reader = mailbox
    poll = select.poll()
    poll.register(reader.fileno(), select.POLLIN)
    assert not poll.poll(0)
    put(writer, 3)
    assert poll.poll(0)
    take(reader)
    assert not poll.poll(0)


def test_a_note_that_a_pipe_might_split_is_refused(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, _ = mailbox
    writer.begin()
    with pytest.raises(ValueError, match="note"):
        writer.publish(bytes(MAX_NOTE + 1))


def test_a_note_without_a_frame_is_refused(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    with pytest.raises(ValueError, match="begun"):
        mailbox[0].publish(b"")


def test_no_frame_is_torn_while_another_process_writes_as_fast_as_it_can() -> None:
    process, reader = start_writer(seconds=1.0)
    whole = 0
    poll = select.poll()
    poll.register(reader.fileno(), select.POLLIN)
    with process, reader:
        while not reader.ended:
            poll.poll(1000)
            whole += take(reader) is not None
        assert process.wait(5) == 0
    assert whole > 20


def test_a_writer_killed_in_the_midst_leaves_the_reader_free_and_told() -> None:
    process, reader = start_writer(seconds=60)
    with process, reader:
        end = time.monotonic() + 30
        while take(reader) is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(5)
        take(reader)  # the last frame, if one lies there
        assert take(reader) is None
        assert reader.ended


def test_mailboxes_leave_no_file_and_no_descriptor_behind() -> None:
    def held() -> tuple[int, list[str]]:
        return len(os.listdir("/proc/self/fd")), sorted(os.listdir("/dev/shm"))

    if not os.path.isdir("/proc/self/fd") or not os.path.isdir("/dev/shm"):
        pytest.skip("needs /proc and /dev/shm")
    before = held()
    writer_end, reader_end = make_mailbox(FRAME)
    with FrameWriter(writer_end, FRAME) as writer, FrameReader(reader_end, FRAME) as reader:
        put(writer, 1)
        assert held()[1] == before[1]
        assert take(reader) == 1
    assert held() == before


def test_closed_ends_give_nothing(mailbox: tuple[FrameWriter, FrameReader]) -> None:
    writer, reader = mailbox
    put(writer, 1)
    reader.close()
    assert reader.fileno() == -1
    assert take(reader) is None
    writer.close()
    with pytest.raises((BufferError, ValueError)):
        put(writer, 2)


def test_a_note_says_all_of_an_answer() -> None:
    note = PictureNote(3, 4, 5.5, "failed", 0.25, 0.5, 2, "Words: é")
    assert PictureNote.unpack(note.pack()) == note
    long = PictureNote(3, 4, 5.5, "failed", detail="é" * 4000)
    assert len(long.pack()) <= MAX_NOTE
    assert set(PictureNote.unpack(long.pack()).detail) == {"é"}


def test_a_channel_passes_messages_and_descriptors_and_its_end() -> None:
    ours, theirs = (Channel(end) for end in Channel.pair())
    read, write = os.pipe()
    assert ours.receive() is None
    assert theirs.send(Alive(), [write])
    received = ours.receive()
    assert received is not None
    assert received[0] == Alive()
    os.write(received[1][0], b"x")
    assert os.read(read, 1) == b"x"
    close_all([read, write, *received[1]])
    theirs.close()
    with pytest.raises(EOFError):
        ours.receive()
    assert ours.send(Alive()) is False
    ours.close()


def test_a_reader_that_does_not_read_never_blocks_the_sender() -> None:
    ours, theirs = (Channel(end) for end in Channel.pair())
    sent = [ours.send(Alive()) for _ in range(20_000)]
    assert sent[0]
    assert not sent[-1]
    theirs.close()
    ours.close()
