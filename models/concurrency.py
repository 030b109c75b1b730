"""How many frames are worked on at once where each takes one processor core."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["at_once"]

#: More are of little use: a third of a frame's time is Python, which one thread at a time runs.
_MOST: Final = 4


def at_once() -> int:
    """One for each processor core that this process may run on, less one for the media; one to four.

    On two cores that also held two browsers, a second one made frames older (33 ms instead of 26), not more.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores - 1, _MOST))
