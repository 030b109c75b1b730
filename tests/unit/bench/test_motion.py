"""The scripted performance: known at every instant, without a seam, and moving what it says."""

from __future__ import annotations

import numpy as np
import pytest

from server.bench.clip import astronaut
from server.bench.motion import MOUTH_PERIOD_S, PERIOD_S, Motion, motion_at, perform

STILL = Motion(yaw=0, pitch=0, mouth=0, blink=0)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return astronaut()[1]


def test_mouth_is_closed_in_the_first_half_of_each_period_and_open_in_the_second() -> None:
    for start in np.arange(0, PERIOD_S, MOUTH_PERIOD_S):
        assert motion_at(start + 0.25 * MOUTH_PERIOD_S).mouth == 0
        assert motion_at(start + 0.75 * MOUTH_PERIOD_S).mouth == pytest.approx(1)


def test_performance_loops_without_a_seam() -> None:
    assert motion_at(PERIOD_S) == motion_at(0)
    last, first = motion_at(PERIOD_S - 1 / 30), motion_at(0)
    assert abs(last.yaw - first.yaw) < 0.01
    assert abs(last.mouth - first.mouth) < 0.4


def test_no_motion_is_the_still(face: np.ndarray) -> None:
    np.testing.assert_allclose(perform(face, STILL), face, atol=1e-3)


def test_mouth_opens_and_nothing_above_it_moves(face: np.ndarray) -> None:
    moved = perform(face, Motion(yaw=0, pitch=0, mouth=1, blink=0))
    height = face[152, 1] - face[10, 1]
    assert moved[14, 1] - moved[13, 1] > face[14, 1] - face[13, 1] + 0.1 * height
    np.testing.assert_allclose(moved[[13, 1, 33, 263, 10]], face[[13, 1, 33, 263, 10]], atol=1e-3)


def test_blink_closes_the_eyes(face: np.ndarray) -> None:
    moved = perform(face, Motion(yaw=0, pitch=0, mouth=0, blink=1))
    for upper, lower in ((159, 145), (386, 374)):
        assert abs(moved[upper, 1] - moved[lower, 1]) < 1e-3


def test_positive_yaw_moves_the_nose_to_one_side(face: np.ndarray) -> None:
    nose = [perform(face, Motion(yaw=yaw, pitch=0, mouth=0, blink=0))[1, 0] for yaw in (-0.2, 0, 0.2)]
    steps = np.diff(nose)
    assert np.all(np.sign(steps) == np.sign(steps[0]))
    assert abs(steps).min() > 5
