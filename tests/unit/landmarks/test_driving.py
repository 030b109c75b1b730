"""From a driver's landmarks to the target's: what must come through, and what must not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.landmarks import topology as face
from models.landmarks.driver import FEW_SHOT_S, DriverMotion, DriverTracker, eye_heights
from models.landmarks.features import eye_widths, gaze, lip_gap, mouth_width
from models.landmarks.geometry import Pose, denormalise, normalise, yaw_pitch_roll
from models.landmarks.retarget import MAX_YAW, RetargetTarget, retarget

POSE = Pose(90.0, np.eye(3), np.array([320.0, 240.0, 0.0]))
TARGET_POSE = Pose(80.0, Rotation.from_euler("y", 5, degrees=True).as_matrix(), np.array([256.0, 256.0, 0.0]))


def face_of(width: float, jaw: float) -> np.ndarray:
    """A normalised face of some shape: wider or narrower, with a longer or shorter jaw."""
    points = face.canonical_face() * [width, 1, 1]
    points[:, 1] += jaw * np.clip(points[:, 1] - 0.5, 0, None)
    return normalise(points)[0]


def target_of(shape: np.ndarray) -> RetargetTarget:
    return RetargetTarget.of(denormalise(shape, TARGET_POSE))


def opened(shape: np.ndarray, amount: float) -> np.ndarray:
    points = shape.copy()
    points[face.LIP_INNER_LOWER[1:-1], 1] += amount
    points[face.LIP_OUTER_LOWER[1:-1], 1] += amount
    return points


def closed_eyes(shape: np.ndarray) -> np.ndarray:
    points = shape.copy()
    for upper, lower in (
        (face.RIGHT_EYE_UPPER, face.RIGHT_EYE_LOWER),
        (face.LEFT_EYE_UPPER, face.LEFT_EYE_LOWER),
    ):
        points[upper] += 0.8 * (points[lower] - points[upper])
    return points


def calibrated(shape: np.ndarray, pose: Pose = POSE) -> tuple[DriverTracker, float]:
    """A tracker that has seen the face at rest for two seconds, and the time then."""
    tracker = DriverTracker()
    for frame in range(60):
        tracker.update(denormalise(shape, pose), frame / 30)
    return tracker, 2.0


def follow(tracker: DriverTracker, landmarks: np.ndarray, time: float) -> DriverMotion:
    """Let the filter settle on a new state."""
    for step in range(30):
        motion = tracker.update(landmarks, time + step / 30)
    return motion


def test_a_driver_at_rest_shows_the_targets_own_landmarks() -> None:
    shape = face_of(0.9, 0.1)
    target = target_of(shape)
    tracker, time = calibrated(face_of(1.1, -0.1))
    shown = retarget(follow(tracker, denormalise(face_of(1.1, -0.1), POSE), time), target)
    np.testing.assert_allclose(shown, denormalise(shape, TARGET_POSE), atol=1.0)


def test_the_drivers_face_shape_does_not_leak() -> None:
    target = target_of(face_of(1.0, 0.0))
    results = []
    for shape in (face_of(0.8, 0.2), face_of(1.2, -0.2)):
        tracker, time = calibrated(shape)
        talking = opened(shape, 0.2 * mouth_width(shape))
        results.append(retarget(follow(tracker, denormalise(talking, POSE), time), target))
    np.testing.assert_allclose(results[0], results[1], atol=1.0)


def test_an_opened_mouth_opens_the_targets() -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    shown, _ = normalise(
        retarget(follow(tracker, denormalise(opened(shape, 0.3), POSE), time), target_of(shape))
    )
    gap = shown[14, 1] - shown[13, 1] - (shape[14, 1] - shape[13, 1])
    assert gap == pytest.approx(0.3, abs=0.02)


def test_small_eyes_close_large_ones_fully() -> None:
    driver = face_of(1.0, 0.0)
    for upper, lower in (
        (face.RIGHT_EYE_UPPER, face.RIGHT_EYE_LOWER),
        (face.LEFT_EYE_UPPER, face.LEFT_EYE_LOWER),
    ):
        driver[upper] += 0.4 * (driver[lower] - driver[upper])  # a squint is this driver's open eye
    tracker, time = calibrated(driver)
    target = target_of(face_of(1.0, 0.0))
    motion = follow(tracker, denormalise(closed_eyes(driver), POSE), time)
    assert min(motion.closure) > 0.95
    shown, _ = normalise(retarget(motion, target))
    assert (eye_heights(shown) < 0.15 * eye_heights(target.normalised)).all()


def test_a_wink_closes_one_eye_only() -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    wink = shape.copy()
    wink[face.RIGHT_EYE_UPPER] = closed_eyes(shape)[face.RIGHT_EYE_UPPER]
    right, left = follow(tracker, denormalise(wink, POSE), time).closure
    assert right > 0.9
    assert left < 0.1


def test_head_motion_is_relative_to_the_drivers_neutral_pose() -> None:
    shape = face_of(1.0, 0.0)
    tilted = Pose(90.0, Rotation.from_euler("ZXY", [8, 12, -15], degrees=True).as_matrix(), POSE.translation)
    tracker, time = calibrated(shape, tilted)
    turned = Pose(
        90.0, Rotation.from_euler("y", 20, degrees=True).as_matrix() @ tilted.rotation, POSE.translation
    )
    shown = retarget(follow(tracker, denormalise(shape, turned), time), target_of(shape))
    before, after = (
        yaw_pitch_roll(normalise(x)[1].rotation)[0] for x in (denormalise(shape, TARGET_POSE), shown)
    )
    assert 15 < after - before < 21


def test_turns_end_where_the_photo_has_nothing_to_show() -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    turned = Pose(90.0, Rotation.from_euler("y", 80, degrees=True).as_matrix(), POSE.translation)
    shown = retarget(follow(tracker, denormalise(shape, turned), time), target_of(shape))
    assert yaw_pitch_roll(normalise(shown)[1].rotation)[0] < MAX_YAW + 6


def test_a_driver_who_walks_away_stays_in_the_picture() -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    away = Pose(30.0, np.eye(3), np.array([1200.0, -300.0, 0.0]))
    shown = retarget(follow(tracker, denormalise(shape, away), time), target_of(shape))
    assert ((shown[face.RIGID, :2] > 0) & (shown[face.RIGID, :2] < 512)).all()


def test_motion_is_usable_from_the_first_frame() -> None:
    motion = DriverTracker().update(denormalise(face_of(1.0, 0.0), POSE), 5.0)
    assert motion.calibrating
    assert np.abs(motion.expression).max() < 0.01  # the lips' own small gap
    np.testing.assert_allclose(motion.rotation, np.eye(3), atol=1e-9)


def test_recalibration_takes_the_present_state_as_neutral() -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    frown = shape.copy()
    frown[np.concatenate([face.RIGHT_EYEBROW_UPPER, face.LEFT_EYEBROW_UPPER]), 1] += 0.2
    frowning = denormalise(frown, POSE)
    assert np.abs(follow(tracker, frowning, time).expression).max() > 0.15
    tracker.recalibrate()
    assert np.abs(follow(tracker, frowning, time + 2).expression).max() < 0.02


def test_a_driver_who_begins_talking_still_closes_the_targets_mouth() -> None:
    """Opening is measured from closed lips, not from whatever mouth the calibration happened to see."""
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(opened(shape, 0.25))
    closed = retarget(follow(tracker, denormalise(shape, POSE), time), target_of(shape))
    assert lip_gap(normalise(closed)[0]) < 0.01
    talking = retarget(follow(tracker, denormalise(opened(shape, 0.25), POSE), time + 1), target_of(shape))
    assert lip_gap(normalise(talking)[0]) > 0.15


def test_a_smiling_photo_closes_its_mouth_with_the_driver() -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    shown = retarget(follow(tracker, denormalise(shape, POSE), time), target_of(opened(shape, 0.2)))
    assert lip_gap(normalise(shown)[0]) < 0.01


def test_the_eyes_turn_with_the_drivers() -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    aside = shape.copy()
    aside[468:478, 0] += 0.1 * eye_widths(shape)[0]
    motion = follow(tracker, denormalise(aside, POSE), time)
    assert motion.gaze[0] == pytest.approx(0.1, abs=0.03)
    shown, _ = normalise(retarget(motion, target_of(shape)))
    before, _ = normalise(denormalise(shape, TARGET_POSE))
    assert gaze(shown)[0] - gaze(before)[0] == pytest.approx(0.08, abs=0.03)


def test_a_suggested_identity_serves_until_observation_outweighs_it() -> None:
    shape = face_of(1.1, 0.1)
    tracker = DriverTracker(identity=shape)
    frown = shape.copy()
    frown[face.RIGHT_EYEBROW_UPPER, 1] += 0.2
    first = tracker.update(denormalise(frown, POSE), 0.0).expression
    assert np.abs(first[face.RIGHT_EYEBROW_UPPER]).max() > 0.15  # without it this would be neutral
    for frame in range(1, 90):
        motion = tracker.update(denormalise(frown, POSE), frame / 30)
    assert np.abs(motion.expression[face.RIGHT_EYEBROW_UPPER]).max() < 0.12


def test_few_shot_estimates_are_blended_with_what_is_observed() -> None:
    shape = face_of(1.1, 0.1)
    tracker = DriverTracker(few_shot=lambda _: shape)
    frown = shape.copy()
    frown[face.RIGHT_EYEBROW_UPPER, 1] += 0.2
    shown = []
    for frame in range(30 * 30):
        tracker.update(denormalise(frown, POSE), frame / 30)
        assert tracker.identity is not None
        shown.append(float((tracker.identity - shape)[face.RIGHT_EYEBROW_UPPER, 1].mean()))
    assert shown[0] < 0.01  # the first frame's frown is not taken for the driver's face
    # after s seconds s / (s + s0) of what is seen: the running mean takes over
    np.testing.assert_allclose(shown[59], 0.2 * 2.0 / (2.0 + FEW_SHOT_S), atol=0.02)
    assert shown[-1] > 0.18
    tracker.recalibrate()
    assert tracker.identity is None


def test_a_target_known_from_several_photos_rests_at_its_own_neutral_face() -> None:
    calm, smiling = face_of(1.0, 0.0), face_of(1.0, 0.0)
    smiling[[61, 291], 1] -= 0.1
    motion = follow(DriverTracker(), denormalise(calm, POSE), 0.0)
    pixels = denormalise(smiling, TARGET_POSE)
    kept = retarget(motion, RetargetTarget.of(pixels))
    taken = retarget(motion, RetargetTarget.of(pixels, neutral=calm))
    lips = [61, 291]
    np.testing.assert_allclose(kept[lips], pixels[lips], atol=1.5)
    np.testing.assert_allclose(taken[lips], denormalise(calm, TARGET_POSE)[lips], atol=1.5)


@pytest.mark.parametrize("fps", [10, 30, 60])
def test_the_frame_rate_does_not_change_the_identity(fps: int) -> None:
    shape = face_of(1.0, 0.0)
    tracker = DriverTracker()
    for frame in range(3 * fps):
        time = frame / fps
        state = opened(shape, 0.15) if time % 0.5 < 0.2 else shape
        tracker.update(denormalise(state, POSE), time)
    assert tracker.identity is not None
    np.testing.assert_allclose(tracker.identity[face.RIGID], shape[face.RIGID], atol=1e-3)
    np.testing.assert_allclose(tracker.identity[face.LIPS], shape[face.LIPS], atol=0.08)


def test_a_lost_face_that_returns_keeps_its_neutral_state() -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    motion = tracker.update(denormalise(opened(shape, 0.2), POSE), time + 30.0)
    assert not motion.calibrating
    assert lip_gap(motion.expression + motion.identity) > 0.15
    np.testing.assert_allclose(motion.rotation, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("bad", [np.zeros((478, 3)), np.full((478, 3), np.nan)])
def test_degenerate_landmarks_leave_the_tracker_as_it_was(bad: np.ndarray) -> None:
    shape = face_of(1.0, 0.0)
    tracker, time = calibrated(shape)
    with pytest.raises(ValueError, match="landmarks"):
        tracker.update(bad, time)
    motion = tracker.update(denormalise(shape, POSE), time + 0.03)
    assert np.abs(motion.expression).max() < 0.01
