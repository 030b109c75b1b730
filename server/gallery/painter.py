"""A canvas that takes soft-edged shapes and strokes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Layer = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Colour = Sequence[float] | npt.NDArray[np.floating]

SIZE = 768
_SHIFT = 4  # sub-pixel bits of corners


class Painter:
    """Paints in floats, RGB 0..255.

    Attributes:
        canvas: ``[768, 768, 3]``.
    """

    def __init__(self, above: Colour, below: Colour) -> None:
        ramp = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
        top, bottom = np.asarray(above, np.float32), np.asarray(below, np.float32)
        x, y = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))
        vignette = (1.08 - 0.22 * (x**2 + y**2)).astype(np.float32)[..., None]
        self.canvas: Layer = np.ascontiguousarray((top + ramp * (bottom - top)) * vignette)

    @staticmethod
    def mask(points: Points, blur: float = 0.0) -> Layer:
        """The inside of a polygon ``[N, 2]`` as a soft mask, blurred by ``blur`` pixels."""
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(mask, [_fixed(points)], 255, cv2.LINE_AA, shift=_SHIFT)
        return _softened(mask, blur)

    def paint(self, mask: Layer, colour: Colour | Layer, opacity: float = 1.0) -> None:
        """Lay a colour, or a picture, over the canvas."""
        self.canvas += (mask * opacity)[..., None] * (np.asarray(colour, np.float32) - self.canvas)

    def shade(self, mask: Layer, factor: float) -> None:
        """Darken (below 1) or lighten (above 1)."""
        self.canvas *= 1.0 + mask[..., None] * (factor - 1.0)

    def stroke(
        self,
        points: Points,
        colour: Colour,
        width: float,
        opacity: float = 1.0,
        blur: float = 0.6,
        *,
        closed: bool = False,
    ) -> None:
        """A line through points ``[N, 2]``."""
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cv2.polylines(mask, [_fixed(points)], closed, 255, max(1, round(width)), cv2.LINE_AA, shift=_SHIFT)
        self.paint(_softened(mask, blur), colour, opacity)

    def strands(
        self,
        region: Layer,
        lines: Sequence[Points],
        colours: Sequence[Colour],
        widths: Sequence[int],
        blur: float,
    ) -> None:
        """Many strokes that show inside a region only: hair."""
        layer = self.canvas.copy()
        for line, colour, width in zip(lines, colours, widths, strict=True):
            cv2.polylines(
                layer, [_fixed(line)], False, tuple(map(float, colour)), width, cv2.LINE_AA, shift=_SHIFT
            )
        self.paint(region, cv2.GaussianBlur(layer, (0, 0), blur))

    def picture(self) -> npt.NDArray[np.uint8]:
        """What was painted, ``[768, 768, 3]``."""
        return np.asarray(np.rint(np.clip(self.canvas, 0, 255)), np.uint8)


def _fixed(points: Points) -> npt.NDArray[np.int32]:
    return np.round(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)


def _softened(mask: npt.NDArray[np.uint8], blur: float) -> Layer:
    soft = mask.astype(np.float32) / 255.0
    return np.asarray(cv2.GaussianBlur(soft, (0, 0), blur) if blur else soft, np.float32)


def ellipse(
    centre: Points | Sequence[float], radius_x: float, radius_y: float, squareness: float = 1.0
) -> Points:
    """Points of an ellipse; ``squareness`` below 1 makes it boxier."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x, y = np.cos(angle), np.sin(angle)
    x, y = (np.sign(v) * np.abs(v) ** squareness for v in (x, y))
    return np.asarray(centre, np.float64) + np.stack([x * radius_x, y * radius_y], axis=1)


def smooth(points: npt.ArrayLike, *, closed: bool = True, steps: int = 8) -> Points:
    """A Catmull-Rom curve through points ``[N, 2]``."""
    points = np.asarray(points, np.float64)
    if closed:
        before, after = np.roll(points, 1, 0), np.roll(points, -1, 0)
        next_after = np.roll(after, -1, 0)
    else:
        before = np.vstack([points[:1], points[:-1]])
        after = np.vstack([points[1:], points[-1:]])
        next_after = np.vstack([after[1:], after[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    curve = np.concatenate(
        [
            0.5
            * (
                2 * p1
                + (p2 - p0) * t
                + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
                + (3 * p1 - p0 - 3 * p2 + p3) * t**3
            )
            for p0, p1, p2, p3 in zip(before, points, after, next_after, strict=True)
        ]
    )
    return curve if closed else curve[: len(curve) - steps + 1]
