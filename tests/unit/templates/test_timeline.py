"""Templates in time: beginnings, ends, sequences, smoothness, and lying over a live expression."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.landmarks.driver import DriverMotion
from models.landmarks.geometry import yaw_pitch_roll
from models.templates.library import Library, builtin_templates
from models.templates.timeline import BLEND_S, Sample, Timeline, overlay, reaction

LIBRARY = Library()
NAMES = [template.name for template in builtin_templates()]


def _live() -> DriverMotion:
    random = np.random.default_rng(3)
    return DriverMotion(
        expression=random.normal(0, 0.02, (478, 3)),
        closure=(0.4, 0.4),
        rotation=np.eye(3),
        shift=np.zeros(3),
        scale=1.0,
        calibrating=False,
        gaze=np.array([0.05, 0.0]),
    )


@pytest.mark.parametrize("name", NAMES)
def test_begins_with_nothing_and_ends_in_full(name: str) -> None:
    template = LIBRARY.find(name)
    samples = Timeline([template]).frames(25)
    assert samples[0].weight == 0
    assert not samples[0].expression.any()
    np.testing.assert_allclose(samples[-1].expression, template.expression[-1], atol=1e-6)
    assert samples[-1].weight == 1


@pytest.mark.parametrize("name", NAMES)
def test_changes_smoothly(name: str) -> None:
    """Between two frames at 25 a second no point jumps; a lid may close within a few frames."""
    samples = Timeline([LIBRARY.find(name)]).frames(25)
    moved = np.array([sample.expression for sample in samples])
    whole = np.linalg.norm(moved[-1] - moved[0], axis=1).max()
    steps = np.linalg.norm(np.diff(moved, axis=0), axis=2).max(1)
    assert steps.max() < max(0.3 * whole, 0.005)
    lids = np.array([sample.lids for sample in samples])
    assert np.abs(np.diff(lids, axis=0)).max() <= 0.4


def test_there_and_back() -> None:
    samples = Timeline([LIBRARY.find("happy")], seconds=2.0, play="return").frames(25)
    assert len(samples) == 50
    assert samples[-1].weight == 0
    np.testing.assert_allclose(samples[5].expression, samples[-6].expression, atol=1e-5)
    assert np.abs(samples[25].expression).max() > 0.05


def test_a_loop_has_no_seam() -> None:
    samples = Timeline([LIBRARY.find("happy")], seconds=2.0, play="loop").frames(25)
    around = [samples[-1], samples[0], samples[1]]
    steps = [np.abs(b.expression - a.expression).max() for a, b in pairwise(around)]
    assert samples[0].weight == 0
    assert 0 < steps[0] == pytest.approx(steps[1], rel=1e-3)


def test_a_sequence_goes_over_smoothly() -> None:
    happy, sad = LIBRARY.find("happy"), LIBRARY.find("sad")
    line = Timeline([happy, sad], seconds=4.0)
    samples = line.frames(50)
    moved = np.array([sample.expression for sample in samples])
    assert np.linalg.norm(np.diff(moved, axis=0), axis=2).max() < 0.03
    np.testing.assert_allclose(moved[-1], sad.expression[-1], atol=1e-6)
    halfway = np.abs(moved - happy.expression[-1]).max((1, 2)).min()
    assert halfway < 1e-3  # the first one was there in full before it gave way
    assert max(sample.weight for sample in samples) <= 1.0


def test_length_and_intensity() -> None:
    happy = LIBRARY.find("happy")
    assert len(Timeline([happy], seconds=3.0).frames(30)) == 90
    weak = Timeline([happy], intensity=0.5).frames(25)[-1]
    np.testing.assert_allclose(weak.expression, 0.5 * happy.expression[-1], atol=1e-6)
    for bad in ({"seconds": 0.0}, {"intensity": 0.0}, {"seconds": float("nan")}):
        with pytest.raises(ValueError, match="positive"):
            Timeline([happy], **bad)
    with pytest.raises(ValueError, match="needs a template"):
        Timeline([])


def test_overlay_of_nothing_changes_nothing() -> None:
    live = _live()
    assert overlay(live, Sample.nothing()) is live


def test_overlay_leaves_what_is_not_covered() -> None:
    live = _live()
    wink = LIBRARY.find("wink-left")
    shown = overlay(live, Sample.of(wink, wink.seconds))
    assert shown.closure[1] == 1.0
    assert shown.closure[0] < 0.1  # the other eye is held open
    mouth = [13, 14, 0, 17]
    added = wink.expression[-1][mouth]
    np.testing.assert_allclose(shown.expression[mouth], live.expression[mouth] + added, atol=0.01)
    happy = LIBRARY.find("happy")
    shown = overlay(live, Sample.of(happy, happy.seconds))
    np.testing.assert_allclose(shown.expression[mouth], happy.expression[-1][mouth], atol=0.01)


def test_overlay_turns_the_head_by_the_named_angles() -> None:
    depressed = LIBRARY.find("depressed")
    shown = overlay(_live(), Sample.of(depressed, 9.0))
    np.testing.assert_allclose(yaw_pitch_roll(shown.rotation), depressed.head[-1], atol=1e-3)


def test_a_reaction_begins_holds_and_gives_way() -> None:
    surprised = LIBRARY.find("surprised")
    times = np.arange(0.0, 3.0, 0.02)
    samples = [reaction(surprised, float(time), held_s=0.5) for time in times]
    over = surprised.seconds + 0.5 + BLEND_S
    assert all((sample is None) == (time >= over) for time, sample in zip(times, samples, strict=True))
    weights = np.array([sample.weight if sample else 0.0 for sample in samples])
    assert weights[0] == 0
    assert weights.max() == pytest.approx(1.0)
    assert np.abs(np.diff(weights)).max() < 0.12
    full = samples[int((surprised.seconds + 0.2) / 0.02)]
    assert full is not None
    np.testing.assert_allclose(full.expression, surprised.expression[-1], atol=1e-5)
