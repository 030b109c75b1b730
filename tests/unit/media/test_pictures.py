"""Viewers get the newest picture, paced, with rising timestamps on the driver's clock."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from server.media.pictures import Feed, ViewerPictures
from signaling.protocol import DriverState

STILL = np.zeros((6, 4), np.uint8)


@dataclass(frozen=True)
class Frame:
    sequence: int
    driver_time: float | None = None
    generated: bool = False
    state: DriverState = "live"
    i420: NDArray[np.uint8] = field(default_factory=lambda: STILL)


class Source:
    def __init__(self, min_fps: float = 5) -> None:
        self.frame = Frame(0)
        self.feed = Feed(lambda: self.frame, min_fps=min_fps)

    def show(self, frame: Frame) -> None:
        self.frame = frame
        self.feed.wake()


async def collect(viewer: ViewerPictures, seconds: float) -> list[tuple[float, int]]:
    pictures = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        picture = await viewer.next()
        pictures.append((time.monotonic(), picture.timestamp))
    return pictures


async def test_a_still_is_repeated_at_the_least_rate() -> None:
    pictures = await collect(Source().feed.watch(), 1.0)
    assert 3 <= len(pictures) <= 7
    steps = np.diff([timestamp for _, timestamp in pictures])
    assert (steps > 9000).all()


async def test_a_new_picture_is_sent_at_once() -> None:
    source = Source(min_fps=0.01)
    viewer = source.feed.watch()
    await viewer.next()
    waiting = asyncio.create_task(viewer.next())
    await asyncio.sleep(0.06)
    assert not waiting.done()
    source.show(Frame(1, time.monotonic(), True))
    async with asyncio.timeout(10):  # far below the 100 s of the least rate
        await waiting


async def test_the_newest_wins_and_the_rate_is_bounded() -> None:
    source = Source()
    viewer = source.feed.watch()

    async def generate() -> None:
        for i in range(1, 201):
            source.show(Frame(i, time.monotonic(), True))
            await asyncio.sleep(0.005)

    task = asyncio.create_task(generate())
    pictures = await collect(viewer, 1.0)
    await task
    assert 10 <= len(pictures) <= 33  # of 200


async def test_a_viewer_may_get_fewer() -> None:
    """And gets all of them again as soon as its limit is raised."""
    source = Source()
    limit = 5.0
    few, all_of_them = source.feed.watch(lambda: limit), source.feed.watch()

    async def generate() -> None:
        for i in range(1, 100_000):
            source.show(Frame(i, time.monotonic(), True))
            await asyncio.sleep(0.005)

    task = asyncio.create_task(generate())
    before, most = await asyncio.gather(collect(few, 1.0), collect(all_of_them, 1.0))
    limit = 30.0
    after = await collect(few, 1.0)
    task.cancel()
    assert len(before) <= 8
    assert len(most) > 1.2 * len(before)
    assert len(after) > 1.2 * len(before)


async def test_timestamps_are_the_driver_frames_times() -> None:
    source = Source()
    viewer = source.feed.watch()
    began = time.monotonic()
    stamps = []
    for i in range(1, 6):
        decoded = began + i * 0.05
        await asyncio.sleep(max(0.0, decoded + 0.02 * (i % 2) - time.monotonic()))
        source.show(Frame(i, decoded, True))
        stamps.append((await viewer.next()).timestamp)
    assert (abs(np.diff(stamps) - 4500) <= 1).all(), "inference's jitter must not reach the timestamps"


async def test_timestamps_rise_whatever_comes() -> None:
    source = Source()
    viewer = source.feed.watch()
    now = time.monotonic()
    last = -1
    for frame in (
        Frame(1, now, True),
        Frame(2, now - 5, True),
        Frame(3, now + 5, True),
        Frame(4),
        Frame(1, now, True),
        Frame(5, now, False),
    ):
        source.show(frame)
        timestamp = (await viewer.next()).timestamp
        assert timestamp > last
        last = timestamp


async def test_each_viewer_has_its_own_pace() -> None:
    source = Source(min_fps=0.01)
    one, other = source.feed.watch(), source.feed.watch()
    await asyncio.gather(one.next(), other.next())
    waiting = [asyncio.create_task(viewer.next()) for viewer in (one, other)]
    await asyncio.sleep(0.04)
    source.show(Frame(1, time.monotonic(), True))
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
    source.feed.leave(one)
    source.feed.leave(one)
