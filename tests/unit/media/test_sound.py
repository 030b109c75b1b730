"""Sound reaches the viewers as it came, never more than 80 ms of it waiting, silence where there is none."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame

from server.media.sound import FRAME_SAMPLES, MAX_WAITING, SILENCE, Microphone


def test_the_silence_is_silent() -> None:
    frames = OpusDecoder().decode(JitterFrame(SILENCE, 0))
    assert sum(frame.samples for frame in frames) == FRAME_SAMPLES
    assert all(abs(frame.to_ndarray()).max() == 0 for frame in frames)


async def test_packets_pass_in_order_with_their_distances() -> None:
    microphone = Microphone()
    microphone.on = True
    viewer = microphone.listen()
    stamps = []
    for i in range(10):
        microphone.put(bytes([i]), (2**32 - 3000 + i * FRAME_SAMPLES) % 2**32)
        packet = await viewer.next()
        assert packet.payload == bytes([i])
        stamps.append(packet.timestamp)
    assert [b - a for a, b in itertools.pairwise(stamps)] == [FRAME_SAMPLES] * 9


async def test_what_waits_from_before_the_connection_is_80_ms_at_most() -> None:
    microphone = Microphone()
    microphone.on = True
    viewer = microphone.listen()
    now = 1000.0
    viewer._clock = lambda: now
    for i in range(100):
        microphone.put(bytes([i]), i * FRAME_SAMPLES)
        now += 0.02
    got = [(await viewer.next()).payload for _ in range(4)]
    assert got == [bytes([i]) for i in range(96, 100)]
    now += 1
    assert (await viewer.next()).payload == SILENCE


async def test_a_burst_after_a_stall_passes_whole() -> None:
    microphone = Microphone()
    microphone.on = True
    viewer = microphone.listen()
    for i in range(15):
        microphone.put(bytes([i]), i * FRAME_SAMPLES)
    got = [await viewer.next() for _ in range(15)]
    assert [packet.payload for packet in got] == [bytes([i]) for i in range(15)]
    for i in range(100):
        microphone.put(bytes([i]), i * FRAME_SAMPLES)
    got = [await viewer.next() for _ in range(MAX_WAITING)]
    assert got[-1].payload == bytes([99])


async def test_silence_comes_at_once_when_muted_and_nothing_of_before() -> None:
    microphone = Microphone()
    microphone.on = True
    viewer = microphone.listen()
    microphone.put(b"a", 0)
    await viewer.next()
    microphone.put(b"b", 960)
    microphone.on = False
    microphone.put(b"c", 1920)
    assert [(await viewer.next()).payload for _ in range(3)] == [SILENCE] * 3
    microphone.on = True
    microphone.put(b"d", 9600)
    assert (await viewer.next()).payload == b"d"


async def test_a_short_pause_of_the_codec_is_left_alone() -> None:
    microphone = Microphone()
    microphone.on = True
    viewer = microphone.listen()
    microphone.put(b"a", 0)
    await viewer.next()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await viewer.next()


async def test_timestamps_rise_over_every_change() -> None:
    microphone = Microphone()
    microphone.on = True
    viewer = microphone.listen()
    stamps = []
    for clock in (5_000_000, 10, 2**31, 2**32 - 1, 7):
        microphone.new_clock()
        for i in range(3):
            microphone.put(b"x", (clock + i * FRAME_SAMPLES) % 2**32)
            stamps.append((await viewer.next()).timestamp)
    for jump in (0, 2**31, 5, 2**30):  # one run whose clock goes wild
        microphone.put(b"x", jump)
        stamps.append((await viewer.next()).timestamp)
    assert stamps == sorted(set(stamps))
    assert stamps[-1] < 48000 * 10


async def test_a_viewer_that_left_gets_nothing() -> None:
    microphone = Microphone()
    microphone.on = True
    viewer, other = microphone.listen(), microphone.listen()
    microphone.leave(viewer)
    microphone.put(b"a", 0)
    assert (await other.next()).payload == b"a"
    assert (await viewer.next()).payload == SILENCE
