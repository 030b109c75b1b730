"""Threads that work on several drivers' frames at once."""

from __future__ import annotations

import select
import threading
import time

import pytest

from server.inference.lanes import Lanes


def test_as_many_at_once_as_there_are_lanes() -> None:
    together = threading.Barrier(3)  # two lanes and this thread
    lanes = Lanes(2, lambda driver: together.wait(10) and None)
    lanes.start(7)
    lanes.start(9)
    assert lanes.free == 0
    assert lanes.finished() == []
    assert not select.select([lanes], [], [], 0)[0]
    together.wait(10)
    assert sorted(lanes.settled()) == [7, 9]
    assert lanes.free == 2
    assert lanes.settled() == []


def test_it_rings_when_something_is_finished() -> None:
    lanes = Lanes(1, lambda driver: None)
    lanes.start(4)
    assert select.select([lanes], [], [], 10)[0]
    until = time.monotonic() + 10
    while not (through := lanes.finished()):
        assert time.monotonic() < until
    assert (through, lanes.free) == ([4], 1)
    assert not select.select([lanes], [], [], 0)[0]


def test_it_says_for_how_long_the_oldest_has_been_at_it() -> None:
    go = threading.Event()
    lanes = Lanes(2, lambda driver: go.wait(10) and None)
    assert lanes.longest_s == 0.0
    lanes.start(1)
    time.sleep(0.05)
    lanes.start(2)
    assert lanes.longest_s >= 0.05
    go.set()
    lanes.settled()
    assert lanes.longest_s == 0.0


def test_what_the_work_raises_is_raised_where_it_was_given_out() -> None:
    def work(driver: int) -> None:
        raise OSError(f"driver {driver}")

    lanes = Lanes(1, work)
    lanes.start(3)
    with pytest.raises(OSError, match="driver 3"):
        lanes.settled()
    assert lanes.free == 1
