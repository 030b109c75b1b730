"""Normalisation: what it takes out can be put back, and it takes out all of the pose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from models.landmarks.geometry import Pose, denormalise, normalise, similarity, yaw_pitch_roll
from models.landmarks.topology import MIRROR, RIGID, SEMANTIC_GROUPS, canonical_face

angles = st.floats(-180, 180)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    return Rotation.from_euler("ZXY", [roll, pitch, yaw], degrees=True).as_matrix()


def some_face(seed: int) -> np.ndarray:
    """A face unlike the canonical one."""
    return canonical_face() + np.random.default_rng(seed).normal(0, 0.05, (478, 3))


@settings(deadline=None, max_examples=60)
@given(angles, st.floats(-89, 89), angles, st.floats(1, 2000), st.floats(-2000, 2000), st.integers(0, 99))
def test_normalising_is_undone_exactly(
    yaw: float, pitch: float, roll: float, scale: float, shift: float, seed: int
) -> None:
    landmarks = denormalise(
        some_face(seed), Pose(scale, rotation(yaw, pitch, roll), np.array([shift, 0, -shift]))
    )
    normalised, pose = normalise(landmarks)
    np.testing.assert_allclose(denormalise(normalised, pose), landmarks, atol=1e-5 * scale)


@pytest.mark.parametrize(("yaw", "roll"), [(0, 0), (60, 0), (0, 90), (60, 90), (-60, -90)])
def test_pose_is_taken_out_altogether(yaw: float, roll: float) -> None:
    face = some_face(1)
    upright, _ = normalise(face)
    posed = denormalise(face, Pose(130.0, rotation(yaw, 10, roll), np.array([250.0, 240.0, 3.0])))
    normalised, _ = normalise(posed)
    np.testing.assert_allclose(normalised, upright, atol=1e-5)


def test_canonical_face_is_normalised_and_symmetric() -> None:
    face = canonical_face()
    np.testing.assert_allclose(face.mean(0), 0, atol=1e-5)
    assert np.sqrt((face**2).sum(1).mean()) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(normalise(face)[0], face, atol=1e-9)
    np.testing.assert_allclose(face[MIRROR] * [-1, 1, 1], face, atol=1e-6)


def test_mirror_is_an_involution_that_swaps_the_sides() -> None:
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(478))
    right, left = SEMANTIC_GROUPS["right_eye"], SEMANTIC_GROUPS["left_eye"]
    assert set(MIRROR[right]) == set(left)
    assert set(MIRROR[SEMANTIC_GROUPS["mouth"]]) == set(SEMANTIC_GROUPS["mouth"])


def test_angles_are_those_of_the_rotation() -> None:
    assert yaw_pitch_roll(rotation(20, -10, 35)) == pytest.approx((20, -10, 35))


def test_an_opening_mouth_moves_nothing_else() -> None:
    face = canonical_face()
    opened = face.copy()
    opened[SEMANTIC_GROUPS["jawline"][5:16], 1] += 0.3
    normalised, _ = normalise(opened)
    np.testing.assert_allclose(normalised[RIGID], face[RIGID], atol=1e-6)


@pytest.mark.parametrize("bad", [np.zeros((478, 3)), np.full((478, 3), np.nan)])
def test_degenerate_landmarks_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        normalise(bad)


def test_similarity_never_reflects() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    pose = similarity(points, points * [-1, 1, 1])
    assert np.linalg.det(pose.rotation) == pytest.approx(1)
