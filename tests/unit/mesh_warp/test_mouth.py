"""What is drawn between lips that the photo shows closed: teeth in a smile, darkness in a dropped jaw."""

from __future__ import annotations

import numpy as np
import pytest

from models.landmarks import topology as face
from models.mesh_warp.mouth import draw_mouth, keep_open_mouth, mouth_plate

SKIN = np.array([190, 145, 120], np.uint8)


def closed() -> np.ndarray:
    """The average face, lips closed, in a picture of 256 pixels a side."""
    points = face.canonical_face() * 60 + [128, 110, 0]
    middle = 0.5 * (points[face.LIP_INNER_UPPER, 1] + points[face.LIP_INNER_LOWER, 1])
    points[face.LIP_INNER_UPPER, 1] = points[face.LIP_INNER_LOWER, 1] = middle
    return points.astype(np.float32)


def opened(points: np.ndarray, *, width: float, gap: float) -> np.ndarray:
    """The mouth so many times as wide, the lower lip so many mouth widths lower."""
    shown = points.copy()
    middle = shown[face.LIPS, 0].mean()
    shown[face.LIPS, 0] = middle + width * (shown[face.LIPS, 0] - middle)
    reach = gap * float(shown[291, 0] - shown[61, 0])
    for lip in (face.LIP_INNER_LOWER, face.LIP_OUTER_LOWER):
        shown[lip[1:-1], 1] += reach
    return shown


def inside(photo: np.ndarray, shown: np.ndarray, share: float) -> np.ndarray:
    """Colour between the lips, this share of the way from the upper one to the lower one."""
    picture = photo.copy()
    draw_mouth(picture, shown, mouth_plate(photo, closed()))
    x, y = shown[13, :2] + share * (shown[14, :2] - shown[13, :2])
    return picture[round(float(y)), round(float(x)) - 3 : round(float(x)) + 4].mean(0)


def test_a_smile_is_full_of_teeth_and_a_dropped_jaw_is_not() -> None:
    photo = np.full((256, 256, 3), SKIN, np.uint8)
    smile = inside(photo, opened(closed(), width=1.5, gap=0.16), 0.6)
    jaw = inside(photo, opened(closed(), width=1.0, gap=0.4), 0.6)
    assert smile.mean() > 0.7 * SKIN.mean()
    assert jaw.mean() < 0.5 * SKIN.mean()


@pytest.mark.parametrize("channel", [0, 2])
def test_teeth_are_in_the_photos_light(channel: int) -> None:
    white = np.full((256, 256, 3), SKIN, np.uint8)
    lit = white.copy()
    lit[..., channel] = np.minimum(lit[..., channel] * 1.3, 255)
    shown = opened(closed(), width=1.5, gap=0.16)
    one, other = inside(white, shown, 0.5), inside(lit, shown, 0.5)
    assert other[channel] / other.sum() > 1.05 * one[channel] / one.sum()


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_in_a_picture_without_colour_the_mouth_has_none(share: float) -> None:
    photo = np.full((256, 256, 3), 150, np.uint8)
    for shown in (opened(closed(), width=1.5, gap=0.16), opened(closed(), width=1.0, gap=0.4)):
        assert np.ptp(inside(photo, shown, share)) <= 1


@pytest.mark.parametrize(
    ("width", "gap", "kept"), [(1.0, 0.14, False), (1.5, 0.14, True), (1.0, 0.5, True), (1.5, 0.0, False)]
)
def test_smiles_and_wide_open_mouths_stay_as_they_were_drawn(width: float, gap: float, kept: bool) -> None:
    """What a network makes of small openings is nearer to the truth; of teeth it makes a pale blur."""
    shown = opened(closed(), width=width, gap=gap)
    made, drawn = np.zeros((256, 256, 3), np.uint8), np.full((256, 256, 3), 200, np.uint8)
    keep_open_mouth(made, drawn, shown)
    x, y = 0.5 * (shown[13, :2] + shown[14, :2])
    assert bool(made[round(float(y)), round(float(x))].min() > 190) is kept
    assert made[10, 10].max() == 0
