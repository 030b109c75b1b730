"""Paints one eye, pixel by pixel: see :func:`models.mesh_warp.eyes.draw_eyes`."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from models.mesh_warp.pixels import (
    Colour,
    Float32,
    Frame,
    Picture,
    edge_heights,
    frame_between,
    frame_width,
    mixed,
    sampled,
    smoothstep,
    table_index,
    to_local,
    to_pixels,
    window_of,
)  # fmt: skip

Indices = npt.NDArray[np.intp]

# All in eye widths.
#: Skin that is pulled, above the upper and below the lower lid, and what of it by the lid keeps its size.
UPPER_SKIN, LOWER_SKIN, MARGIN = 0.34, 0.22, 0.06
#: Lashes and their shadow inside the opening, which move with the lid.
UPPER_LASHES, LOWER_LASHES = 0.07, 0.03
#: Part of the photo around the eye that is kept.
U_FROM, U_TO, V_FROM, V_TO = -0.12, 1.12, -0.75, 0.6
#: Thickness of the line where closed lids meet, and how dark it gets.
LINE, LINE_SHARE = 0.028, 0.42
#: An iris that turns less than this share of its way to full blending is not turned.
_STILL: Final = 0.02


class Lids(NamedTuple):
    """Which landmarks an eye is made of: corners on the picture's left and right, lids, the iris's middle."""

    left: int
    right: int
    upper: Indices
    lower: Indices
    iris: int


class Eyeball(NamedTuple):
    """What a photo's eye shows, and where; see :class:`models.mesh_warp.eyes.EyePlate`."""

    ball: Picture
    white: Picture
    frame: Frame
    left: float
    top: float
    iris_x: float
    iris_y: float
    radius: float


@compiled
def set_eye(landmarks: Float32, photo: Float32, lids: Lids, own: Indices) -> None:
    """Move an eye's landmarks, in place, to where they are in the photo, as seen from the eye's corners.

    Args:
        landmarks, photo: ``[478, >=2]``, pixels.
        lids: of this eye.
        own: which landmarks are the eye's, its corners among them.
    """
    here = frame_between(landmarks, lids.left, lids.right)
    there = frame_between(photo, lids.left, lids.right)
    for point in own:
        local = to_local(there, photo[point, 0], photo[point, 1])
        landmarks[point, 0], landmarks[point, 1] = to_pixels(here, local[0], local[1])


@compiled
def paint_eye(picture: Picture, shown: Float32, opened: Float32, lids: Lids, eyeball: Eyeball) -> None:
    """Set lids and iris as they should be, in place.

    Args:
        picture: ``[S, S, 3]``, warped with the eyes open.
        shown, opened: landmarks ``[478, >=2]`` as they should be and with the eyes as in the photo, pixels.
        lids: of this eye.
        eyeball: of the photo.
    """
    frame = frame_between(opened, lids.left, lids.right)
    window = window_of(frame, U_FROM, U_TO, V_FROM, V_TO, picture.shape[0])
    upper, lower = edge_heights(frame, opened, lids.upper), edge_heights(frame, opened, lids.lower)
    to_upper, to_lower = edge_heights(frame, shown, lids.upper), edge_heights(frame, shown, lids.lower)
    pixel = 1.0 / max(frame_width(frame), 1.0)
    thickness = max(LINE, 0.9 * pixel)

    # how far the iris turns: at rest the photo itself is shown
    turn_u, turn_v = to_local(frame, shown[lids.iris, 0], shown[lids.iris, 1])
    rest_u, rest_v = to_local(eyeball.frame, eyeball.iris_x, eyeball.iris_y)
    turn_u, turn_v = turn_u - rest_u, turn_v - rest_v
    dx = turn_u * eyeball.frame.along_x - turn_v * eyeball.frame.along_y
    dy = turn_u * eyeball.frame.along_y + turn_v * eyeball.frame.along_x
    turned = min(math.hypot(dx, dy) / (0.15 * eyeball.radius), 1.0)

    # lids are taken from the picture that is painted over
    before = picture[window.top : window.bottom, window.left : window.right].copy()
    for y in range(window.top, window.bottom):
        for x in range(window.left, window.right):
            u, v = to_local(frame, x, y)
            index = table_index(u)
            above, below = upper[index], lower[index]
            to_above = min(to_upper[index], to_lower[index])
            to_below = max(to_upper[index], to_lower[index])

            seam = smoothstep(v - 0.5 * (to_above + to_below), -pixel, pixel)
            colour = (0.0, 0.0, 0.0)
            if seam < 1.0:
                at = to_pixels(frame, u, _pulled(v, above, to_above, -UPPER_SKIN))
                colour = sampled(before, at[0] - window.left, at[1] - window.top)
            if seam > 0.0:
                at = to_pixels(frame, u, _pulled(v, below, to_below, LOWER_SKIN))
                under = sampled(before, at[0] - window.left, at[1] - window.top)
                colour = mixed(colour, under, seam)

            room = to_below - to_above
            is_open = smoothstep(room, 0.5 * pixel, 2.5 * pixel)
            if is_open > 0.0 and to_above < v < to_below:
                upper_band = min(UPPER_LASHES, 0.45 * room) + pixel
                lower_band = min(LOWER_LASHES, 0.25 * room) + pixel
                is_open *= smoothstep(v - to_above, 0.0, upper_band)
                is_open *= smoothstep(to_below - v, 0.0, lower_band)
                colour = mixed(colour, _seen(eyeball, u, v, dx, dy, turned), is_open)

            # what was the white of the eye is now the lid's edge: lashes make it dark
            fall = min(max((to_above - above) / max(below - above, 0.05), 0.0), 1.0)
            far = ((v - to_above) / thickness) ** 2
            if fall > 0.0 and far < 12.0:
                inside = smoothstep(u, 0.0, 0.15) * (1.0 - smoothstep(u, 0.85, 1.0))
                colour = mixed(colour, (0.0, 0.0, 0.0), LINE_SHARE * inside * fall * math.exp(-far))
            for channel in range(3):
                picture[y, x, channel] = round(min(max(colour[channel], 0.0), 255.0))


@compiled
def _pulled(v: float, edge: float, to_edge: float, skin: float) -> float:
    """From where a lid's skin is taken when its edge moves from ``edge`` to ``to_edge``.

    ``skin`` is how far it reaches from the edge, negative upwards. Next to the edge, and inside the
    opening, it moves as it is; beyond, it is stretched; farther out it stays.
    """
    sign = 1.0 if skin > 0.0 else -1.0
    away = (v - to_edge) * sign  # from the lid's edge into its skin
    moved = (to_edge - edge) * sign
    room = max(abs(skin) - MARGIN - moved, 0.03)  # what is left of the skin between margin and end
    if away < MARGIN:
        source = away
    elif away < MARGIN + room:
        source = MARGIN + (away - MARGIN) * ((abs(skin) - MARGIN) / room)
    else:
        source = away + moved
    return edge + sign * source


@compiled
def _seen(eyeball: Eyeball, u: float, v: float, dx: float, dy: float, turned: float) -> Colour:
    """The eyeball at a place of the eye's frame, its iris moved by (dx, dy) pixels of the photo."""
    x, y = to_pixels(eyeball.frame, u, v)
    x, y = x - eyeball.left, y - eyeball.top
    ball = sampled(eyeball.ball, x, y)
    if turned < _STILL:
        return ball
    away = math.hypot(x - dx - (eyeball.iris_x - eyeball.left), y - dy - (eyeball.iris_y - eyeball.top))
    iris = 1.0 - smoothstep(away / eyeball.radius, 1.06, 1.24)
    eye = mixed(sampled(eyeball.white, x, y), sampled(eyeball.ball, x - dx, y - dy), iris)
    return mixed(ball, eye, turned)
