"""The One-Euro filter against its definition, and what it is for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from models.landmarks.smoothing import OneEuroFilter, OneEuroSettings

SETTINGS = OneEuroSettings()


def by_definition(samples: list[float], times: list[float]) -> list[float]:
    """Casiez et al. 2012, one coordinate, a loop."""

    def alpha(cutoff: float, step: float) -> float:
        return 1 / (1 + 1 / (2 * math.pi * cutoff * step))

    filtered, speed, results = samples[0], 0.0, [samples[0]]
    for (before, now), value in zip(itertools.pairwise(times), samples[1:], strict=True):
        step = now - before
        speed += alpha(SETTINGS.derivative_cutoff, step) * ((value - filtered) / step - speed)
        cutoff = SETTINGS.min_cutoff + SETTINGS.beta * abs(speed)
        filtered += alpha(cutoff, step) * (value - filtered)
        results.append(filtered)
    return results


def test_it_is_the_one_euro_filter() -> None:
    random = np.random.default_rng(2)
    times = np.cumsum(random.uniform(0.02, 0.06, 30)).tolist()
    samples = random.normal(size=(30, 4, 3))
    smooth = OneEuroFilter()
    results = np.array([smooth(sample, time) for sample, time in zip(samples, times, strict=True)])
    for point in range(4):
        for axis in range(3):
            expected = by_definition(samples[:, point, axis].tolist(), times)
            np.testing.assert_allclose(results[:, point, axis], expected, rtol=1e-9)


def test_jitter_of_a_resting_point_is_damped_and_fast_motion_followed() -> None:
    random = np.random.default_rng(3)
    rest = random.normal(0, 0.002, 90)
    jump = np.r_[np.zeros(45), np.full(45, 0.2)]
    steady, quick = OneEuroFilter(), OneEuroFilter()
    resting = np.array([float(steady(np.array(x), i / 30)) for i, x in enumerate(rest)])
    moving = np.array([float(quick(np.array(x), i / 30)) for i, x in enumerate(jump)])
    assert resting[10:].std() < 0.6 * rest.std()
    assert moving[47] > 0.9 * 0.2  # two frames after the jump


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_taken_in(bad: float) -> None:
    smooth = OneEuroFilter()
    smooth(np.zeros(3), 0.0)
    np.testing.assert_array_equal(smooth(np.array([bad, 0, 0]), 0.03), np.zeros(3))
    assert np.isfinite(smooth(np.ones(3), 0.06)).all()
