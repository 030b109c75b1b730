"""The crop holds the face in its middle at the preset size, whatever picture it is cut from."""

from __future__ import annotations

import numpy as np
import pytest

from models.landmarks.crop import CROP_FACES, face_crop, face_size, warp_to_square
from models.landmarks.geometry import canonical_face


def face_at(x: float, y: float, scale: float) -> np.ndarray:
    return (canonical_face() * scale + [x, y, 0]).astype(np.float32)


def gradient(height: int, width: int) -> np.ndarray:
    """Red says x, green says y, in 255ths of the picture."""
    rows, columns = np.mgrid[:height, :width]
    picture = np.zeros((height, width, 3), np.float64)
    picture[..., 0], picture[..., 1] = 255 * columns / width, 255 * rows / height
    return picture.astype(np.uint8)


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("scale", [40.0, 150.0, 700.0])
def test_the_face_fills_its_share_of_the_crop(size: int, scale: float) -> None:
    picture = gradient(3000, 3200)
    landmarks = face_at(1500, 1400, scale)
    crop, moved, transform = face_crop(picture, landmarks, size)
    assert crop.shape == (size, size, 3)
    assert face_size(moved) == pytest.approx(size / CROP_FACES, rel=1e-3)
    middle = (moved[:, :2].min(0) + moved[:, :2].max(0)) / 2
    np.testing.assert_allclose(middle, size / 2, atol=0.01)
    np.testing.assert_allclose(
        moved[:, :2], landmarks[:, :2] @ transform[:, :2].T + transform[:, 2], atol=1e-2
    )
    depth, before = (np.ptp(points[:, 2]) / np.ptp(points[:, 0]) for points in (moved, landmarks))
    assert depth == pytest.approx(before, rel=1e-4)
    # the picture moved with the landmarks
    for point, before in zip(moved[[1, 33, 263, 152]], landmarks[[1, 33, 263, 152]], strict=True):
        x, y = np.rint(point[:2]).astype(int)
        np.testing.assert_allclose(crop[y, x, :2], 255 * before[:2] / [3200, 3000], atol=2)


def test_beyond_the_picture_its_border_goes_on() -> None:
    picture = np.full((200, 200, 3), 90, np.uint8)
    picture[:, :4] = [10, 200, 30]
    crop, _, _ = face_crop(picture, face_at(20, 100, 40.0), 256)
    left = crop[:, :60].reshape(-1, 3).astype(int)
    assert np.abs(left - [10, 200, 30]).max() < 60
    np.testing.assert_array_equal(crop[128, 250], [90, 90, 90])


def test_shrinking_does_not_alias() -> None:
    """A fine checkerboard becomes grey, not moire."""
    board = (np.indices((2000, 2000)).sum(0) % 2 * 255).astype(np.uint8)
    small = warp_to_square(np.repeat(board[..., None], 3, 2), np.array([[0.1, 0, 3.3], [0, 0.1, -7.7]]), 180)
    assert np.abs(small[20:160, 20:160].astype(int) - 127).max() < 20


@pytest.mark.parametrize("bad", [np.zeros((478, 3), np.float32), np.full((478, 3), np.nan, np.float32)])
def test_landmarks_without_extent_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="face"):
        face_crop(np.zeros((50, 50, 3), np.uint8), bad, 256)
