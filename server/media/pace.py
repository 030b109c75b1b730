"""A rate that is not exceeded in the long run, by things that do not come quite evenly."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Says when the next of a stream of pictures is due.

    A camera's pictures do not come evenly: each may be a period early, as long as the average holds.

    Args:
        fps: most pictures a second.
        clock: seconds, monotonic.
    """

    def __init__(self, fps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._fps = fps
        self._clock = clock
        self._due = clock()

    @property
    def fps(self) -> float:
        """Most pictures a second; may be changed at any time."""
        return self._fps

    @fps.setter
    def fps(self, fps: float) -> None:
        # what was due late at the slow rate is due sooner at the fast one
        self._due = min(self._due, self._clock() + 1.0 / fps)
        self._fps = fps

    @property
    def delay(self) -> float:
        """Seconds until the next picture is due; 0 when it is."""
        return max(0.0, self._due - self._clock())

    def step(self) -> None:
        """A picture goes now."""
        period = 1.0 / self._fps
        self._due = max(self._due, self._clock() - period) + period
