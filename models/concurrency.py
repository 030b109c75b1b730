"""How many frames are worked on at once where each takes one processor core."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["at_once", "usable_cores"]

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")

#: More are of little use: a third of a frame's time is Python, which one thread at a time runs.
_MOST: Final = 4


def at_once() -> int:
    """One for each processor core that this process may run on, less one for the media; one to four.

    On two cores that also held two browsers, a second one made frames older (33 ms instead of 26), not more.
    """
    return max(1, min(usable_cores() - 1, _MOST))


def usable_cores() -> int:
    """Processor cores that this process may use: at most its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError, ZeroDivisionError):  # no container, no limit ("max"), or not Linux
        quota, period = _QUOTA.read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)
