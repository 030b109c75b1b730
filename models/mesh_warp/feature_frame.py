"""A local frame on a facial feature: along it from corner to corner, and across it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from models.mesh_warp.pixels import SAMPLES, TABLE_FROM, TABLE_TO, Frame

Float32 = npt.NDArray[np.float32]

_TABLE_AT: Final = np.linspace(TABLE_FROM, TABLE_TO, SAMPLES)


@dataclass(frozen=True)
class FeatureFrame:
    """Coordinates (u, v) in which the feature's corners are (0, 0) and (1, 0) and v grows downwards.

    One unit is the distance of the corners, hence a frame on the photo and one on the driver's pose
    name the same place of the feature by the same (u, v), whatever the size and roll.

    Attributes:
        origin: the corner on the picture's left, pixels.
        along: ``[2]``, from there to the other corner, pixels.
    """

    origin: Float32
    along: Float32

    @classmethod
    def between(cls, left: npt.NDArray[np.floating], right: npt.NDArray[np.floating]) -> FeatureFrame:
        """The frame of two corners ``[>=2]`` in pixels; ones that coincide still give a frame of a pixel."""
        along = np.asarray(right[:2] - left[:2], np.float32)
        length = float(np.hypot(*along))
        if length < 1.0:
            along = np.array([1.0, 0.0], np.float32)
        return cls(np.asarray(left[:2], np.float32), along)

    @cached_property
    def width(self) -> float:
        """Distance of the corners in pixels."""
        return float(np.hypot(*self.along))

    @cached_property
    def pixels(self) -> Frame:
        """The same for compiled functions."""
        return Frame(*self.origin.tolist(), *self.along.tolist())

    @cached_property
    def _basis(self) -> Float32:
        """``[2, 2]``: pixels times this are (u, v)."""
        x, y = self.along.tolist()
        return np.array([[x, -y], [y, x]], np.float32) / np.float32(self.width**2)

    def to_local(self, points: npt.NDArray[np.floating]) -> Float32:
        """Pixels ``[..., 2]`` to (u, v)."""
        return np.asarray((points[..., :2] - self.origin) @ self._basis, np.float32)

    def to_pixels(self, u: Float32, v: Float32) -> tuple[Float32, Float32]:
        """(u, v) to pixels x, y."""
        (ox, oy), (ax, ay) = self.origin, self.along
        x = u * ax - v * ay
        x += ox
        y = u * ay + v * ax
        y += oy
        return np.asarray(x, np.float32), np.asarray(y, np.float32)

    def window(
        self, u_range: tuple[float, float], v_range: tuple[float, float], size: int
    ) -> tuple[slice, slice] | None:
        """Rows and columns of a picture of ``size`` pixels a side that hold this part of the frame."""
        u = np.array([u_range[0], u_range[0], u_range[1], u_range[1]], np.float32)
        v = np.array([v_range[0], v_range[1], v_range[0], v_range[1]], np.float32)
        x, y = self.to_pixels(u, v)
        left, right = max(int(x.min()), 0), min(int(np.ceil(x.max())) + 1, size)
        top, bottom = max(int(y.min()), 0), min(int(np.ceil(y.max())) + 1, size)
        if right - left < 2 or bottom - top < 2:
            return None
        return slice(top, bottom), slice(left, right)

    def local_grid(self, window: tuple[slice, slice]) -> tuple[Float32, Float32]:
        """(u, v) of every pixel of a window, each ``[rows, columns]``."""
        rows, columns = window
        x = np.arange(columns.start, columns.stop, dtype=np.float32) - self.origin[0]
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) - self.origin[1])[:, None]
        (ax, ay), squared = self.along / self.width, np.float32(1.0 / self.width)
        return (
            np.asarray((x * ax + y * ay) * squared, np.float32),
            np.asarray((y * ax - x * ay) * squared, np.float32),
        )


class EdgeTable:
    """Heights of a feature's edges along it, looked up for every pixel of a window at once.

    Args:
        heights: of each edge, ``[E, SAMPLES]``.
    """

    def __init__(self, heights: Float32) -> None:
        self.heights = heights

    @classmethod
    def through(cls, edges: Sequence[Float32]) -> EdgeTable:
        """Of chains of points (u, v) ``[P, 2]``; each edge is straight between its points and flat beyond."""
        heights = np.empty((len(edges), SAMPLES), np.float32)
        for row, edge in zip(heights, edges, strict=True):
            u, v = edge[edge[:, 0].argsort()].T
            row[:] = np.interp(_TABLE_AT, u, v)
        return cls(heights)

    @staticmethod
    def index(u: Float32) -> npt.NDArray[np.intp]:
        """Where in the table each u is found."""
        scale = (SAMPLES - 1) / (TABLE_TO - TABLE_FROM)
        return np.clip((u - TABLE_FROM) * scale + 0.5, 0, SAMPLES - 1).astype(np.intp)

    def at(self, index: npt.NDArray[np.intp]) -> list[Float32]:
        """Height of each edge at each place, arrays of the shape of ``index``."""
        return [row[index] for row in self.heights]


def smoothstep(x: Float32, low: float, high: float) -> Float32:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.asarray((x - low) * np.float32(1.0 / (high - low)), np.float32)
    t = np.minimum(np.maximum(t, 0.0), 1.0)  # on patches so small np.clip's checks cost more
    return np.asarray(t * t * (3 - 2 * t), np.float32)
