"""Whose frame is next: the driver's that was served longest ago."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Turns:
    """Order of service. Without it those at the front of a list would be served and the others starve."""

    def __init__(self) -> None:
        self._count = 0
        self._last: dict[int, int] = {}

    def order(self, drivers: Iterable[int]) -> deque[int]:
        """These drivers, longest unserved first; those that never were, by number, before all others."""
        return deque(sorted(drivers, key=lambda driver: (self._last.get(driver, 0), driver)))

    def served(self, driver: int) -> None:
        """It is served now: all others come before it."""
        self._count += 1
        self._last[driver] = self._count

    def forget(self, driver: int) -> None:
        """The driver is gone."""
        self._last.pop(driver, None)
