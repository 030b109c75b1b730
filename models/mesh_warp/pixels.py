"""What the painters of eyes and mouth do for a single pixel, compiled (:mod:`models.compiled`).

Twins, pixel by pixel, of what :mod:`models.mesh_warp.feature_frame` does for whole arrays.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import compiled

Float32 = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]

#: Samples along a feature in the tables of its edges, and the part of u that they cover.
SAMPLES: Final = 256
TABLE_FROM, TABLE_TO = -0.25, 1.25
_SCALE: Final = (SAMPLES - 1) / (TABLE_TO - TABLE_FROM)


class Frame(NamedTuple):
    """See :class:`models.mesh_warp.feature_frame.FeatureFrame`: its origin, and one unit of u, in pixels."""

    x: float
    y: float
    along_x: float
    along_y: float


class Window(NamedTuple):
    """Pixels of a picture, the ends not included."""

    top: int
    bottom: int
    left: int
    right: int


@compiled
def frame_between(landmarks: Float32, left: int, right: int) -> Frame:
    """The frame of two corners; ones that coincide still give a frame of a pixel."""
    x, y = float(landmarks[left, 0]), float(landmarks[left, 1])
    along_x, along_y = float(landmarks[right, 0]) - x, float(landmarks[right, 1]) - y
    if math.hypot(along_x, along_y) < 1.0:
        along_x, along_y = 1.0, 0.0
    return Frame(x, y, along_x, along_y)


@compiled
def frame_width(frame: Frame) -> float:
    """Distance of the corners in pixels."""
    return math.hypot(frame.along_x, frame.along_y)


@compiled
def to_local(frame: Frame, x: float, y: float) -> tuple[float, float]:
    """Pixels to (u, v)."""
    dx, dy = x - frame.x, y - frame.y
    squared = frame.along_x**2 + frame.along_y**2
    return (
        (dx * frame.along_x + dy * frame.along_y) / squared,
        (dy * frame.along_x - dx * frame.along_y) / squared,
    )


@compiled
def to_pixels(frame: Frame, u: float, v: float) -> tuple[float, float]:
    """(u, v) to pixels."""
    return (
        frame.x + u * frame.along_x - v * frame.along_y,
        frame.y + u * frame.along_y + v * frame.along_x,
    )


@compiled
def _within(x: float, most: float) -> float:
    """Between 0 and ``most``, NaN included: what becomes an index must not lead out of an array."""
    if not x > 0.0:
        return 0.0
    return x if x < most else most


@compiled
def window_of(frame: Frame, u0: float, u1: float, v0: float, v1: float, size: int) -> Window:
    """Pixels that hold a part of the frame; none (0, 0, 0, 0) if it is outside the picture or too small."""
    xa, ya = to_pixels(frame, u0, v0)
    xb, yb = to_pixels(frame, u0, v1)
    xc, yc = to_pixels(frame, u1, v0)
    xd, yd = to_pixels(frame, u1, v1)
    most = float(size)
    left, right = _within(min(xa, xb, xc, xd), most), _within(np.ceil(max(xa, xb, xc, xd)) + 1.0, most)
    top, bottom = _within(min(ya, yb, yc, yd), most), _within(np.ceil(max(ya, yb, yc, yd)) + 1.0, most)
    window = Window(int(top), int(bottom), int(left), int(right))
    if window.right - window.left < 2 or window.bottom - window.top < 2:
        return Window(0, 0, 0, 0)
    return window


@compiled
def edge_heights(frame: Frame, landmarks: Float32, chain: npt.NDArray[np.intp]) -> Float32:
    """Heights of an edge along a feature, ``[SAMPLES]``: straight between its points, flat beyond its ends.

    Args:
        chain: which landmarks the edge is made of.
    """
    count = len(chain)
    u, v = np.empty(count), np.empty(count)
    for index in range(count):  # from left to right
        here = to_local(frame, landmarks[chain[index], 0], landmarks[chain[index], 1])
        place = index
        while place > 0 and u[place - 1] > here[0]:
            u[place], v[place] = u[place - 1], v[place - 1]
            place -= 1
        u[place], v[place] = here
    heights = np.empty(SAMPLES, np.float32)
    right = 1
    for sample in range(SAMPLES):
        at = TABLE_FROM + sample / _SCALE
        while right < count - 1 and u[right] < at:
            right += 1
        share = (at - u[right - 1]) / max(u[right] - u[right - 1], 1e-12)
        heights[sample] = v[right - 1] + min(max(share, 0.0), 1.0) * (v[right] - v[right - 1])
    return heights


@compiled
def table_index(u: float) -> int:
    """Where in a table of heights u is found."""
    return int(_within((u - TABLE_FROM) * _SCALE + 0.5, SAMPLES - 1.0))


@compiled
def smoothstep(x: float, low: float, high: float) -> float:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@compiled
def sampled(picture: Picture, x: float, y: float) -> Colour:
    """The colour between four pixels of ``[h, w, 3]``; beyond the edge, the edge's."""
    height, width = picture.shape[:2]
    x, y = _within(x, width - 1.0), _within(y, height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    px, py = x - left, y - top
    a, b, c, d = (1 - px) * (1 - py), px * (1 - py), (1 - px) * py, px * py
    first, second, third, fourth = (
        picture[top, left], picture[top, right], picture[bottom, left], picture[bottom, right]
    )  # fmt: skip
    return (
        a * first[0] + b * second[0] + c * third[0] + d * fourth[0],
        a * first[1] + b * second[1] + c * third[1] + d * fourth[1],
        a * first[2] + b * second[2] + c * third[2] + d * fourth[2],
    )


@compiled
def mixed(a: Colour, b: Colour, share: float) -> Colour:
    """``share`` of b, the rest of a."""
    return (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2]))
