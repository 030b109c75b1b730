"""A driver's generated pictures on their way to the viewers: newest wins, paced, with the driver's clock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from server import metrics
from server.media.interfaces import GeneratedPicture, Picture
from server.media.pace import Pace

VIDEO_CLOCK_RATE: Final = 90_000
MAX_FPS: Final = 30
#: Of one's own picture during a call, which is small there: the processor's time is the others'.
OWN_FPS: Final = 15
#: A picture that does not change is still sent this often: a new viewer sees it, a lost packet mends.
MIN_FPS: Final = 5


class Feed:
    """Where one driver's pictures come from, and who waits for them.

    Args:
        latest: gives the newest picture, which is always safe to show.
        max_fps: most pictures a second for a viewer.
        min_fps: least pictures a second for a viewer.
    """

    def __init__(
        self,
        latest: Callable[[], GeneratedPicture],
        max_fps: float = MAX_FPS,
        min_fps: float = MIN_FPS,
    ) -> None:
        self.latest = latest
        self._max_fps = max_fps
        self._min_fps = min_fps
        self._viewers: set[ViewerPictures] = set()

    def wake(self) -> None:
        """There is a new picture. To be called on the event loop."""
        for viewer in self._viewers:
            viewer.wake()

    def watch(self, limit: Callable[[], float] | None = None) -> ViewerPictures:
        """A new viewer's pictures; give them back with :meth:`leave`.

        Args:
            limit: says the most pictures a second that this viewer is to get now.
        """
        viewer = ViewerPictures(self.latest, self._max_fps, self._min_fps, limit=limit)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: ViewerPictures) -> None:
        """The viewer is gone."""
        self._viewers.discard(viewer)


class ViewerPictures:
    """One viewer's pictures: a :class:`~server.media.interfaces.PictureSource`.

    A timestamp is the time at which the picture's driver frame was decoded, so that sound, which passes
    through without delay, stays with the lips. A still has no such time and takes the present one, less the
    age that generated pictures had last, so that the clock runs on evenly.

    Args:
        latest: gives the newest picture.
        max_fps: most pictures a second.
        min_fps: least pictures a second.
        clock: seconds, monotonic, the clock of ``driver_time``.
        limit: asked before each picture for a lower rate than ``max_fps``.
    """

    def __init__(
        self,
        latest: Callable[[], GeneratedPicture],
        max_fps: float = MAX_FPS,
        min_fps: float = MIN_FPS,
        clock: Callable[[], float] = time.monotonic,
        limit: Callable[[], float] | None = None,
    ) -> None:
        self._latest = latest
        self._max_fps = max_fps
        self._limit = limit
        self._changed = asyncio.Event()
        self._unseen = 0
        self._clock = clock
        self._pace = Pace(max_fps, clock)
        self._most_wait = 1.0 / min_fps
        self._origin = clock()
        self._sent = self._origin - self._most_wait
        self._sequence: int | None = None
        self._age = 0.0
        self._timestamp = -1

    def wake(self) -> None:
        """There is a new picture."""
        self._unseen += 1
        self._changed.set()

    async def next(self) -> Picture:
        """Wait for a new picture, but not longer than the least rate allows."""
        self._pace.fps = min(self._max_fps, self._limit() if self._limit else self._max_fps)
        await asyncio.sleep(self._pace.delay)
        while True:
            self._changed.clear()
            picture = self._latest()
            due = self._sent + self._most_wait
            if picture.sequence != self._sequence or self._clock() >= due:
                break
            await self._wait(due - self._clock())
        self._sent = self._clock()
        self._pace.step()
        timestamp = self._next_timestamp(picture)
        if self._unseen > 1 and not self._slowed:
            metrics.FRAMES_DROPPED.labels("send", "overtaken").inc(self._unseen - 1)
        self._unseen = 0
        self._sequence = picture.sequence
        return Picture(picture.i420, timestamp)

    @property
    def _slowed(self) -> bool:
        """Whether pictures are left out, and shown late, on purpose: no figures of the call are taken."""
        return self._pace.fps < self._max_fps

    async def _wait(self, longest: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._changed.wait()

    def _next_timestamp(self, picture: GeneratedPicture) -> int:
        now = self._clock()
        if picture.generated and picture.driver_time is not None:
            if picture.sequence != self._sequence and not self._slowed:
                metrics.FRAME_AGE.observe(max(0.0, now - picture.driver_time))
            self._age = min(1.0, max(0.0, now - picture.driver_time))
        timestamp = int((now - self._age - self._origin) * VIDEO_CLOCK_RATE)
        self._timestamp = max(self._timestamp + 1, timestamp)
        return self._timestamp
