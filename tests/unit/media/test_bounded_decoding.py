"""The decoder's backlog, the size of what it decodes and its end are bounded."""

from __future__ import annotations

import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc.jitterbuffer import JitterFrame

from server.media.mends.bounded_decoding import EncodedFrameQueue, decode_pictures, keyframe_size


def encoded(width: int, height: int, count: int = 1) -> list[bytes]:
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = Fraction(1, 90000)
    codec.options = {"deadline": "realtime", "cpu-used": "-8", "lag-in-frames": "0"}
    frames = []
    for i in range(count):
        picture = av.VideoFrame.from_ndarray(
            np.full((height * 3 // 2, width), 40 + i, np.uint8), format="yuv420p"
        )
        picture.pts = i * 3000
        frames += [bytes(packet) for packet in codec.encode(picture)]
    return frames


def decoded(*frames: bytes | None) -> tuple[list[av.VideoFrame], bool]:
    wanted = threading.Event()
    queue = EncodedFrameQueue(wanted, backlog=100)
    for frame in frames:
        queue.put(None if frame is None else ("vp8", JitterFrame(frame, 0)))
    # Not through put(): that would empty the queue.
    super(EncodedFrameQueue, queue).put(None)
    pictures: list[av.VideoFrame] = []
    decode_pictures(queue, pictures.append, wanted)
    return pictures, wanted.is_set()


def test_pictures_are_decoded() -> None:
    pictures, wanted = decoded(*encoded(320, 240, 3))
    assert [(p.width, p.height) for p in pictures] == [(320, 240)] * 3
    assert not wanted


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((3840, 2160), (1280, 720)),
        ((322, 242), (322, 242)),
    ],
)
def test_large_pictures_are_scaled_down(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    pictures, _ = decoded(*encoded(*size))
    assert [(p.width, p.height) for p in pictures] == [fitted]


def test_a_size_that_changes_in_mid_stream_is_followed() -> None:
    pictures, _ = decoded(*encoded(640, 480, 2), *encoded(320, 180, 2))
    assert [(p.width, p.height) for p in pictures] == [(640, 480)] * 2 + [(320, 180)] * 2


def test_an_enormous_picture_is_refused_before_it_is_decoded() -> None:
    header = bytearray(encoded(64, 64)[0])
    header[6:10] = (16383).to_bytes(2, "little") * 2
    assert keyframe_size(bytes(header)) == (16383, 16383)
    assert decoded(bytes(header))[0] == []


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00", b"\x00" * 9, b"\x01garbage", b"\x00\x00\x00\x9d\x01\x2a\x00\x00\x00\x00"]
)
def test_garbage_does_not_end_the_decoder(garbage: bytes) -> None:
    good = encoded(64, 64)
    pictures, _ = decoded(garbage, *good, garbage, *good)
    assert len(pictures) >= 2


def test_what_cannot_be_decoded_asks_for_a_keyframe() -> None:
    frames = encoded(64, 64, 2)
    assert decoded(frames[1]) == ([], True)


def test_a_backlog_is_dropped_up_to_the_next_keyframe() -> None:
    wanted = threading.Event()
    queue = EncodedFrameQueue(wanted, backlog=2)
    key, delta = b"\x00key", b"\x01delta"
    for data in (key, delta, delta, delta):
        queue.put(("vp8", JitterFrame(data, 0)))
    assert queue.qsize() == 2
    assert wanted.is_set()
    queue.get(), queue.get()
    queue.put(("vp8", JitterFrame(delta, 0)))
    assert queue.qsize() == 0, "it builds on a frame that was dropped"
    queue.put(("vp8", JitterFrame(key, 0)))
    queue.put(("vp8", JitterFrame(delta, 0)))
    assert queue.qsize() == 2


def test_a_keyframe_takes_the_place_of_a_backlog() -> None:
    wanted = threading.Event()
    queue = EncodedFrameQueue(wanted, backlog=2)
    for data in (b"\x00one", b"\x01", b"\x01", b"\x00two", b"\x01"):
        queue.put(("vp8", JitterFrame(data, 0)))
    assert [queue.get()[1].data for _ in range(queue.qsize())] == [b"\x00two", b"\x01"]


def test_a_keyframe_is_asked_for_again_while_frames_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("server.media.mends.bounded_decoding.time.monotonic", lambda: now)
    wanted = threading.Event()
    queue = EncodedFrameQueue(wanted, backlog=1)
    asked = []
    for _ in range(40):
        queue.put(("vp8", JitterFrame(b"\x01", 0)))
        asked.append(wanted.is_set())
        wanted.clear()
        now += 0.1
    assert 6 <= sum(asked) <= 8


def test_the_end_does_not_wait_for_the_backlog() -> None:
    queue = EncodedFrameQueue(threading.Event())
    for frame in encoded(64, 64, 5):
        queue.put(("vp8", JitterFrame(frame, 0)))
    queue.put(None)
    assert queue.get() is None
    assert queue.empty()
