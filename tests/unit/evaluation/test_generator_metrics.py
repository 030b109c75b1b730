"""What is measured of a generated picture, on pictures and faces whose figures are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.action_units import ACTION_UNITS, action_units, agreement, states
from models.evaluation.generator_metrics import flicker, jitter, picture_metrics, pose_error, regions
from models.evaluation.identity_network import cosine
from models.landmarks import topology as face
from models.landmarks.features import close_lips
from models.landmarks.geometry import Pose, denormalise
from models.landmarks.topology import canonical_face


def turned(yaw: float, points: np.ndarray | None = None, shift: float = 0.0) -> np.ndarray:
    angle = np.radians(yaw)
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    pose = Pose(45.0, rotation, np.array([128.0 + shift, 128.0, 0.0]))
    return denormalise(canonical_face() if points is None else points, pose).astype(np.float32)


def texture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8)


def test_the_mouth_is_in_the_face_and_the_face_in_the_picture() -> None:
    masks = regions(turned(0.0), 256)
    areas = {name: float(mask.mean()) for name, mask in masks.items()}
    assert areas[""] == 1.0
    assert 0.1 < areas["_face"] < 0.6
    assert 0.002 < areas["_mouth"] < 0.2 * areas["_face"]
    assert not (masks["_mouth"] > masks["_face"]).any()


def test_equal_pictures_are_perfect_everywhere() -> None:
    figures = picture_metrics(texture(0), texture(0), regions(turned(0.0), 256))
    assert all(value == 0 for name, value in figures.items() if name.startswith("l1"))
    assert all(value == pytest.approx(1) for name, value in figures.items() if name.startswith("ssim"))
    assert all(value == 60 for name, value in figures.items() if name.startswith("psnr"))


def test_what_changes_outside_the_face_changes_no_figure_of_the_face() -> None:
    masks = regions(turned(0.0), 256)
    changed = texture(0)
    changed[:20] = 255 - changed[:20]
    figures = picture_metrics(changed, texture(0), masks)
    assert figures["l1"] > 0.05
    assert figures["l1_face"] == figures["l1_mouth"] == 0
    assert figures["ssim_face"] == pytest.approx(1)
    assert figures["ssim"] < 0.99


def test_figures_are_what_their_definitions_say() -> None:
    brighter = np.full((256, 256, 3), 100, np.uint8), np.full((256, 256, 3), 151, np.uint8)
    figures = picture_metrics(*brighter, regions(turned(0.0), 256))
    assert figures["l1"] == pytest.approx(51 / 127.5)  # of pictures in -1..1
    assert figures["psnr_mouth"] == pytest.approx(20 * np.log10(255 / 51))


def test_pose_error_is_the_mean_square_over_three_angles() -> None:
    assert pose_error(turned(10.0), turned(-2.0)) == pytest.approx(12**2 / 3, rel=1e-3)
    assert pose_error(turned(10.0, shift=30), turned(10.0)) == pytest.approx(0, abs=1e-6)


def test_a_lasting_error_is_no_jitter_and_a_shaking_one_is() -> None:
    truth = [turned(yaw) for yaw in range(6)]
    lasting = [points + [7, 0, 0] for points in truth]
    shaking = [points + [2.0 * (-1) ** index, 0, 0] for index, points in enumerate(truth)]
    size = np.mean([np.ptp(points[:, :2], axis=0).max() for points in truth])
    assert jitter(lasting, truth) == pytest.approx(0, abs=1e-4)
    assert jitter(shaking, truth) == pytest.approx(100 * 4 / size, rel=1e-3)


def test_flicker_ignores_what_stays_and_what_the_truth_does_as_well() -> None:
    truth = [texture(index) // 2 for index in range(3)]
    assert flicker([frame + 20 for frame in truth], truth) == pytest.approx(0)
    flashing = [frame + 51 * (index % 2) for index, frame in enumerate(truth)]
    assert flicker(flashing, truth) == pytest.approx(51 / 127.5)


def opened() -> np.ndarray:
    points = close_lips(canonical_face())
    lower = np.concatenate([face.LIP_INNER_LOWER[1:-1], face.LIP_OUTER_LOWER[1:-1]])
    points[lower, 1] += 0.3
    points[152, 1] += 0.25
    return points


def test_an_open_mouth_is_lips_apart_and_a_lowered_jaw_and_nothing_else() -> None:
    rest = action_units(close_lips(canonical_face()))
    raised = states(action_units(opened()), rest)
    active = {name for name, state in zip(ACTION_UNITS, raised, strict=True) if state}
    assert active == {"lips apart", "jaw"}
    assert all(raised[raised != 0] == 1)


@pytest.mark.parametrize("yaw", [-25.0, 0.0, 25.0])
def test_action_units_do_not_depend_on_where_the_head_is(yaw: float) -> None:
    np.testing.assert_allclose(
        action_units(turned(yaw, opened(), shift=20)), action_units(opened()), atol=1e-3
    )


def test_agreement_counts_every_action_unit_alike() -> None:
    shown = np.array([1, 0, 0, -1, 0, 0, 1, 1, 0, 0], np.int8)
    wanted = np.array([1, 0, 0, 1, 0, 0, 0, 1, 0, 0], np.int8)
    assert agreement(shown, wanted) == pytest.approx(0.8)


def test_cosine_of_nothing_is_zero() -> None:
    assert cosine(np.zeros(128), np.ones(128)) == 0
    assert cosine(np.ones(128), 3 * np.ones(128)) == pytest.approx(1)
