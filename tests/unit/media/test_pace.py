"""The average rate holds; a picture that is a little early is not punished."""

from __future__ import annotations

import random

import pytest

from server.media.pace import Pace


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("camera", "taken"), [(60, 30), (30, 30), (15, 15), (300, 30)])
def test_what_is_taken_of_a_jittering_camera(camera: int, taken: int) -> None:
    clock = Clock()
    pace = Pace(30, clock)
    chance = random.Random(4)
    count = 0
    for i in range(camera * 10):
        clock.now = 50 + (i + 0.8 * chance.random()) / camera
        if not pace.delay:
            pace.step()
            count += 1
    assert abs(count - taken * 10) <= 2


def test_a_pause_is_not_made_up_for() -> None:
    clock = Clock()
    pace = Pace(30, clock)
    clock.now += 60
    for _ in range(2):
        assert not pace.delay
        pace.step()
    assert pace.delay > 0
