"""A page to draw on: design coordinates, anti-aliased shapes, smooth bumps, colours, and noise.

Design coordinates: x to the right, y down, the chin at y = 1, the eyes near y = -0.13, the hairline near
y = -0.95; a face is about 1.45 wide. Heights (z, towards the viewer) have the same unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Points = Sequence[tuple[float, float]] | NDArray[np.float64]

#: Weights of linear red, green and blue in luminance (Rec. 709).
LUMINANCE: Final[Array] = np.array([0.2126, 0.7152, 0.0722], np.float32)

_SPAN: Final = 3.4
_CENTRE_Y: Final = 0.16
# Heads are designed with the tall forehead of a mannequin; above the brows the page is this much flatter.
_FLATTENED_ABOVE: Final = -0.42
_FLATTENED_TO: Final = 0.70
_FLATTENED_OVER: Final = 0.12
_SUBPIXEL_BITS: Final = 4


class Canvas:
    """A square page.

    Args:
        size: pixels a side.

    Attributes:
        scale: pixels for one design unit.
        x, y: design coordinates of each pixel's centre, ``[size, size]``.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.scale = size / _SPAN
        self._designed = np.linspace(-4, 4, 4001)
        self._page = _flattened(self._designed)
        at = (np.arange(size) + 0.5) / self.scale - _SPAN / 2
        x, y = np.meshgrid(at, np.interp(at + _CENTRE_Y, self._page, self._designed))
        self.x: Array = x.astype(np.float32)
        self.y: Array = y.astype(np.float32)

    def pixels(self, points: ArrayLike) -> NDArray[np.float64]:
        """Design coordinates ``[..., 2]`` as continuous pixel coordinates."""
        page = np.array(points, np.float64)
        page[..., 1] = np.interp(page[..., 1], self._designed, self._page) - _CENTRE_Y
        return np.asarray((page + _SPAN / 2) * self.scale)

    def blur(self, image: Array, sigma: float) -> Array:
        """Gaussian blur; ``sigma`` in design units. Wide ones work on a smaller copy."""
        pixels = max(0.3, sigma * self.scale)
        if pixels < 5:
            return cv2.GaussianBlur(image, (0, 0), pixels)
        factor = max(1, int(pixels / 3.5))
        height, width = image.shape[:2]
        small = (max(1, width // factor), max(1, height // factor))
        shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        blurred = cv2.GaussianBlur(shrunk, (0, 0), pixels / factor)
        return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_CUBIC)

    def polygon(self, points: Points, soft: float = 0.0) -> Array:
        """Coverage 0..1 of a polygon; ``soft`` blurs its edge (design units)."""
        mask = np.zeros((self.size, self.size), np.float32)
        corners = self.pixels(points) - 0.5
        margin = int(4 * soft * self.scale) + 3
        left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - margin, 0)
        right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + margin + 1, self.size)
        if right <= left or bottom <= top:
            return mask
        part = np.zeros((bottom - top, right - left), np.uint8)
        fill_polygon(part, corners - [left, top])
        covered = part.astype(np.float32) / 255
        mask[top:bottom, left:right] = self.blur(covered, soft) if soft else covered
        return mask

    def shape(self, points: Points, soft: float = 0.0) -> Array:
        """Coverage 0..1 of the closed curve through points."""
        return self.polygon(curve(points), soft)

    def stroke(self, points: Points, widths: Sequence[float], soft: float = 0.0) -> Array:
        """Coverage 0..1 of a line through points whose width (design units) changes along it."""
        return self.polygon(ribbon(curve(points, closed=False), widths), soft)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float) -> Array:
        """Coverage 0..1 of an ellipse."""
        turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        return self.polygon(np.stack([x + radius_x * np.cos(turn), y + radius_y * np.sin(turn)], axis=1))

    def inside(self, mask: Array) -> Array:
        """Distance to the mask's edge for pixels within it, in design units."""
        distance = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        return np.asarray(distance / self.scale, np.float32)

    def bump(self, x: float, y: float, width: float, height: float, turn: float = 0.0) -> Array:
        """A Gaussian of height 1 with deviations ``width`` and ``height``, turned by ``turn`` radians."""
        if not turn:
            across = np.exp(-0.5 * ((self.x[:1] - x) / width) ** 2)
            return np.asarray(across * np.exp(-0.5 * ((self.y[:, :1] - y) / height) ** 2), np.float32)
        dx, dy = self.x - x, self.y - y
        cos, sin = np.cos(turn), np.sin(turn)
        along, over = (cos * dx + sin * dy) / width, (-sin * dx + cos * dy) / height
        return np.asarray(np.exp(-0.5 * (along**2 + over**2)), np.float32)

    def bumps(self, x: float, y: float, width: float, height: float, turn: float = 0.0) -> Array:
        """A bump and its mirror image."""
        return self.bump(x, y, width, height, turn) + self.bump(-x, y, width, height, -turn)

    def noise(self, random: np.random.Generator, sigma: float) -> Array:
        """Smooth noise of unit deviation; ``sigma`` in design units."""
        noise = self.blur(random.standard_normal((self.size, self.size)).astype(np.float32), sigma)
        return np.asarray(noise / noise.std(), np.float32)


def _flattened(y: NDArray[np.float64]) -> NDArray[np.float64]:
    above = y - _FLATTENED_ABOVE
    bend = _FLATTENED_OVER * np.logaddexp(0, above / _FLATTENED_OVER)
    return np.asarray(_FLATTENED_ABOVE + _FLATTENED_TO * above + (1 - _FLATTENED_TO) * bend)


def fill_polygon(image: NDArray[np.uint8], corners: NDArray[np.float64], value: float = 255) -> None:
    """Fill an anti-aliased polygon; corners in pixels, pixel centres at whole numbers."""
    fixed = np.round(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(image, [fixed], value, cv2.LINE_AA, _SUBPIXEL_BITS)


def curve(points: Points, *, closed: bool = True, steps: int = 24) -> NDArray[np.float64]:
    """The Catmull-Rom spline through points, ``steps`` points between each two."""
    through = np.asarray(points, float)
    if closed:
        padded = np.vstack([through[-1], through, through[0], through[1]])
    else:
        padded = np.vstack([2 * through[0] - through[1], through, 2 * through[-1] - through[-2]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        cubic = (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
        pieces.append(0.5 * (2 * b + (c - a) * t + cubic))
    if not closed:
        pieces.append(through[-1:])
    return np.vstack(pieces)


def ribbon(line: NDArray[np.float64], widths: Sequence[float]) -> NDArray[np.float64]:
    """The outline of a line with widths spread evenly along it."""
    width = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths)[:, None]
    along = np.gradient(line, axis=0)
    side = np.stack([-along[:, 1], along[:, 0]], axis=1)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    return np.vstack([line + side * width / 2, (line - side * width / 2)[::-1]])


def mirrored(points: Points, side: int) -> list[tuple[float, float]]:
    """The points for the right half of the picture (``side`` 1) or mirrored for the left (-1)."""
    return [(side * float(x), float(y)) for x, y in points]


def symmetric(half: Points) -> list[tuple[float, float]]:
    """A closed outline from its right half, top to bottom."""
    return mirrored(half, -1) + mirrored(half, 1)[::-1]


def smoothstep(low: float, high: float, value: ArrayLike) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between; falls instead of rising where high < low."""
    t = np.clip((np.asarray(value, np.float32) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def smooth_max(first: Array, second: Array, width: float) -> Array:
    """The larger of two heights, rounded off where they differ by less than ``width``."""
    h = np.clip(0.5 + 0.5 * (first - second) / width, 0, 1)
    return np.asarray(second + (first - second) * h + width * h * (1 - h), np.float32)


def blend(below: Array, above: ArrayLike, amount: Array) -> Array:
    """``above`` over ``below``: colours ``[..., 3]`` by an amount 0..1 without the last axis."""
    k = amount[..., None]
    return np.asarray(below * (1 - k) + np.asarray(above, np.float32) * k, np.float32)


def srgb(code: str) -> Array:
    """``#rrggbb`` as sRGB 0..1."""
    return np.array([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)


def linear(code: str) -> Array:
    """``#rrggbb`` as linear light 0..1 (gamma 2.2)."""
    return np.asarray(srgb(code) ** 2.2, np.float32)


def luminance(image: Array) -> Array:
    """``[H, W, 3]`` to ``[H, W]``."""
    return np.asarray(image @ LUMINANCE, np.float32)


def saturated(image: Array, factor: float, offset: float = 0.0) -> Array:
    """An sRGB picture with its saturation multiplied, and a little added."""
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + offset, 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
