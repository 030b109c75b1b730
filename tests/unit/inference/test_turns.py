"""Fairness without a clock: cameras and a generator that is too slow for them, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

from server.inference.turns import Turns

INTERVAL_MS = 40.0


@dataclass
class Served:
    """When a driver's frames were taken up, and how old they were, milliseconds."""

    at: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)


def simulate(
    count: int, batch: int, batch_ms: float, choose: Callable[[Iterable[int], int], list[int]]
) -> list[Served]:
    """Ten simulated seconds of cameras at 25 frames a second; the newest frame of each waits to be taken."""
    phases = np.random.default_rng(count).uniform(0, INTERVAL_MS, count)
    taken = np.full(count, -1)
    drivers = [Served() for _ in range(count)]
    now = INTERVAL_MS
    while now < 10_000:
        newest = np.floor((now - phases) / INTERVAL_MS).astype(int)
        ready = [int(driver) for driver in np.flatnonzero(newest > taken)]
        if not ready:
            now = float((phases + INTERVAL_MS * (newest + 1)).min()) + 1e-6
            continue
        for driver in choose(ready, batch):
            taken[driver] = newest[driver]
            drivers[driver].at.append(now)
            drivers[driver].ages.append(now - (phases[driver] + INTERVAL_MS * newest[driver]))
        now += batch_ms
    return drivers


def by_turns() -> Callable[[Iterable[int], int], list[int]]:
    turns = Turns()

    def choose(ready: Iterable[int], batch: int) -> list[int]:
        chosen = list(turns.order(ready))[:batch]
        for driver in chosen:
            turns.served(driver)
        return chosen

    return choose


@pytest.mark.parametrize(("count", "batch", "batch_ms"), [(8, 1, 8), (7, 1, 10), (64, 1, 8), (64, 16, 60)])
def test_when_overloaded_every_driver_loses_the_same(count: int, batch: int, batch_ms: float) -> None:
    drivers = simulate(count, batch, batch_ms, by_turns())
    frames = [len(driver.at) for driver in drivers]
    assert max(frames) - min(frames) <= 2
    assert sum(frames) == pytest.approx(batch * (10_000 - INTERVAL_MS) / batch_ms, rel=0.01)  # and none idles
    # nobody waits for longer than one turn of all others, a frame's time of its own camera, and a batch
    longest = max(np.diff(driver.at).max() for driver in drivers)
    assert longest <= -(-count // batch) * batch_ms + INTERVAL_MS + batch_ms
    assert max(max(driver.ages) for driver in drivers) < INTERVAL_MS  # the newest frame, never a queued one


def test_without_overload_nobody_loses_a_frame() -> None:
    drivers = simulate(4, 1, 8, by_turns())
    assert {len(driver.at) for driver in drivers} <= {248, 249, 250}


def test_first_come_in_a_fixed_order_would_starve_the_last() -> None:
    """The measure finds unfairness where there is some."""
    drivers = simulate(64, 1, 8, lambda ready, batch: sorted(ready)[:batch])
    frames = [len(driver.at) for driver in drivers]
    assert max(frames) > 200
    assert min(frames) == 0


def test_who_is_new_comes_first_and_who_left_is_forgotten() -> None:
    turns = Turns()
    for driver in (3, 1, 2):
        turns.served(driver)
    assert list(turns.order([1, 2, 3, 9])) == [9, 3, 1, 2]
    turns.forget(3)
    assert list(turns.order([1, 2, 3])) == [3, 1, 2]
