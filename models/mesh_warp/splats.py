"""Gaussian splats of points onto a grid, for single pictures on one core.

A splat at a point is what a blur makes of a single lit place: points are laid down between the four cells
around them, all at once, and the grid is blurred. That costs the same for any number of points, and half
of the matrix products with which :mod:`models.mesh_maps` splats batches on any device.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.compiled import compiled

Float32 = npt.NDArray[np.float32]

#: Widths of the fine and the coarse splats, as a share of the crop.
FINE: Final = 0.03
COARSE: Final = 0.10
#: Weight of "no motion" against the coarse splats: lets the flow fall to zero in the background.
STILL: Final = 0.3
#: Weight of the coarse flow against the fine splats: fills between the points.
FILL: Final = 0.02

#: Cells around the grid on which points outside it are laid down too: their splats reach in.
MARGIN: Final = 16
#: What laying a point down between cells adds to the variance of its splat, in cells squared, on average.
_SPREAD: Final = 1 / 6


class Splats:
    """Points on a grid of ``size`` cells a side.

    Points more than :data:`MARGIN` cells outside it are left out.

    Args:
        points: ``[N, 2]`` x, y in units of the grid (0..1).
        size: cells a side.
    """

    def __init__(self, points: Float32, size: int) -> None:
        self.size = size
        self._points = np.ascontiguousarray(points, np.float32)

    def laid(self, values: Float32) -> Float32:
        """Each point's values, ``[N, C]``, between the cells around it: ``[side, side, C]`` with margin."""
        return _laid(self._points, np.ascontiguousarray(values, np.float32), self.size)

    def blurred(self, laid: Float32, width: float) -> Float32:
        """Sum of what was laid down times ``exp(-d^2 / 2 width^2)``: ``[size, size, C]``.

        Args:
            laid: what :meth:`laid` gave.
            width: of the splats, in units of the grid; at least half a cell.
        """
        kernel = blur_kernel(width * self.size)
        blurred = cv2.sepFilter2D(laid, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
        inner = slice(MARGIN, MARGIN + self.size)
        return np.asarray(blurred[inner, inner].reshape(self.size, self.size, -1), np.float32)


@compiled
def _laid(points: Float32, values: Float32, size: int) -> Float32:
    side = size + 2 * MARGIN
    grid = np.zeros((side, side, values.shape[1]), np.float32)
    one = np.float32(1)
    for index in range(len(points)):
        x = points[index, 0] * np.float32(size) + np.float32(MARGIN - 0.5)
        y = points[index, 1] * np.float32(size) + np.float32(MARGIN - 0.5)
        if not (0 <= x < side - 1 and 0 <= y < side - 1):
            continue
        left, top = int(x), int(y)
        px, py = x - np.float32(left), y - np.float32(top)
        for channel in range(values.shape[1]):
            value = values[index, channel]
            grid[top, left, channel] += (one - px) * (one - py) * value
            grid[top, left + 1, channel] += px * (one - py) * value
            grid[top + 1, left, channel] += (one - px) * py * value
            grid[top + 1, left + 1, channel] += px * py * value
    return grid


@compiled
def filled(coarse: Float32, fine: Float32) -> Float32:
    """Means of what was laid down: of fine splats, and where those do not reach of coarse ones.

    Args:
        coarse, fine: ``[h, w, C + 1]``, sums of values and, last, of the splats themselves.

    Returns:
        ``[h, w, C]``, zero far from all points.
    """
    height, width, last = fine.shape[0], fine.shape[1], fine.shape[2] - 1
    means = np.empty((height, width, last), np.float32)
    for row in range(height):
        for column in range(width):
            of_coarse = np.float32(FILL) / (coarse[row, column, last] + np.float32(STILL))
            share = np.float32(1.0) / (fine[row, column, last] + np.float32(FILL))
            for channel in range(last):
                here = fine[row, column, channel] + coarse[row, column, channel] * of_coarse
                means[row, column, channel] = here * share
    return means


@lru_cache(maxsize=16)
def blur_kernel(sigma: float) -> Float32:
    """A Gaussian of ``sigma`` cells and height 1, less what laying down between cells has spread already."""
    reach = int(np.ceil(3 * sigma))
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * at**2 / (sigma**2 - _SPREAD))
    return np.asarray(kernel * (sigma * np.sqrt(2 * np.pi) / kernel.sum()), np.float32)
