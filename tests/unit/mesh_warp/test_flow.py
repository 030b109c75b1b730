"""The flow: exact at the landmarks, smooth between, carrying the skull, still in the background."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from models.landmarks import topology as face
from models.landmarks.geometry import canonical_face
from models.mesh_warp.flow import FLOW_SIZE, mesh_flow, moved_with_skull, skull_points
from models.mesh_warp.splats import COARSE, FILL, FINE, STILL, Splats


def photo() -> np.ndarray:
    """Landmarks in units of the crop."""
    return (canonical_face() * 0.165 + [0.5, 0.5, 0]).astype(np.float32)


def sampled(flow: np.ndarray, points: np.ndarray) -> np.ndarray:
    places = (points * FLOW_SIZE - 0.5).T[::-1]
    return np.stack([map_coordinates(flow[..., axis], places, order=1) for axis in range(2)], axis=1)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    rotation = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    centre = np.array([0.5, 0.5, 0])
    return ((points - centre) @ rotation.T + centre).astype(np.float32)


def test_no_motion_no_flow() -> None:
    points = photo()[:, :2]
    assert np.abs(mesh_flow(points, points)).max() == 0


def test_the_flow_arrives_at_the_landmarks() -> None:
    """Nearer than by the wider two splats alone, which smooth over brows and lips."""
    still = photo()
    shown = still.copy()
    brows = np.concatenate([face.RIGHT_EYEBROW_UPPER, face.RIGHT_EYEBROW_LOWER])
    shown[brows, 1] -= 0.03
    at = sampled(mesh_flow(shown[:, :2], still[:, :2]), shown[:, :2])[brows, 1]
    splats = Splats(shown[:, :2], FLOW_SIZE)
    two = np.zeros((FLOW_SIZE, FLOW_SIZE, 2), np.float32)
    for width, weight in ((COARSE, STILL), (FINE, FILL)):
        moved, count = (
            splats.blurred(splats.laid(values), width)
            for values in ((still - shown)[:, :2], np.ones((478, 1), np.float32))
        )
        two = (moved + weight * two) / (count + weight)
    error, former = (np.abs(x - 0.03).mean() for x in (at, sampled(two, shown[:, :2])[brows, 1]))
    assert error < 0.6 * former
    assert error < 0.007


def test_the_crops_edge_and_far_background_stay() -> None:
    still = photo()
    flow = mesh_flow(turned(still, 25)[:, :2], still[:, :2])
    border = np.concatenate([flow[0], flow[-1], flow[:, 0], flow[:, -1]])
    assert np.abs(border).max() < 0.002
    assert np.abs(flow[-4:, :8]).max() < 0.002


def test_hair_and_ears_go_with_the_head() -> None:
    still = photo()
    skull = skull_points(still)
    assert skull[:, 1].min() < still[:, 1].min() - 0.05  # above the forehead
    moved = still + np.float32([0.05, 0.02, 0])
    followed = moved_with_skull(skull, still, moved) - skull[:, :2]
    top = np.argsort(skull[:, 1])[:5]
    np.testing.assert_allclose(followed[top], [[0.05, 0.02]] * 5, atol=5e-3)
    assert np.abs(followed).max() < 0.051


def test_an_opening_mouth_leaves_the_skull() -> None:
    still = photo()
    shown = still.copy()
    shown[face.LIPS, 1] += 0.05
    skull = skull_points(still)
    np.testing.assert_allclose(moved_with_skull(skull, still, shown), skull[:, :2], atol=1e-3)


@pytest.mark.parametrize("degrees", [-25, 25])
def test_a_turn_does_not_fold_the_picture(degrees: float) -> None:
    """Going right in the picture never goes far left in the photo."""
    still = photo()
    flow = mesh_flow(turned(still, degrees)[:, :2], still[:, :2])
    source = (np.arange(FLOW_SIZE) + 0.5) / FLOW_SIZE + flow[..., 0]
    assert (np.diff(source, axis=1) > -0.02).all()


@pytest.mark.parametrize("width", [COARSE, FINE, 0.016])
def test_splats_are_the_direct_sum(width: float) -> None:
    """Of Gaussians of that width and height 1, points outside the grid included."""
    random = np.random.default_rng(0)
    points = random.uniform(-0.15, 1.15, (60, 2)).astype(np.float32)
    values = random.normal(size=(2, 60)).astype(np.float32).T
    splats = Splats(points, FLOW_SIZE)
    at = (np.arange(FLOW_SIZE) + 0.5) / FLOW_SIZE
    squared = (at[None, :, None] - points[:, 0]) ** 2 + (at[:, None, None] - points[:, 1]) ** 2
    wanted = np.exp(-0.5 * squared / width**2) @ values
    got = splats.blurred(splats.laid(values), width)
    # laying points down between cells shows where a splat is hardly wider than a cell
    assert np.abs(got - wanted).max() < (0.2 if width * FLOW_SIZE < 1.5 else 0.06)
    assert np.abs(got - wanted).mean() < 0.02


def test_points_far_outside_leave_the_grid_alone() -> None:
    points = np.array([[0.5, 0.5], [40.0, -3.0], [np.float32(1e9), 0.5]], np.float32)
    alone, all_of_them = (Splats(some, FLOW_SIZE) for some in (points[:1], points))
    np.testing.assert_array_equal(
        all_of_them.laid(np.ones((3, 1), np.float32)), alone.laid(np.ones((1, 1), np.float32))
    )
