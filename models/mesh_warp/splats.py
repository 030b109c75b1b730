"""Gaussian splats of points onto a grid, for single pictures on one core.

A splat at a point is what a blur makes of a single lit place: points are laid down between the four cells
around them, all at once, and the grid is blurred. That costs the same for any number of points, and half
of the matrix products with which :mod:`models.mesh_maps` splats batches on any device.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from models.compiled import compiled, float32

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
#: Cells around the grid that there are: as many as the widest splat reaches.
_AROUND: Final = 20
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
        self._points = float32(points)

    def laid(self, values: Float32) -> Float32:
        """Each point's values, ``[N, C]``, between the cells around it: ``[side, side, C]`` with margin."""
        return _laid(self._points, float32(values), self.size)

    def blurred(self, laid: Float32, width: float) -> Float32:
        """Sum of what was laid down times ``exp(-d^2 / 2 width^2)``: ``[size, size, C]``.

        Args:
            laid: what :meth:`laid` gave.
            width: of the splats, in units of the grid; at least half a cell.

        Raises:
            ValueError: the splats reach farther than there are cells around the grid.
        """
        kernel = blur_kernel(width * self.size)
        if len(kernel) // 2 > _AROUND:
            raise ValueError(f"splats of {width * self.size:.1f} cells reach farther than {_AROUND}")
        return _blurred(float32(laid), kernel, self.size)


@compiled
def _laid(points: Float32, values: Float32, size: int) -> Float32:
    side = size + 2 * _AROUND
    first, last = np.float32(_AROUND - MARGIN), np.float32(side - 1 - _AROUND + MARGIN)
    grid = np.zeros((side, side, values.shape[1]), np.float32)
    one = np.float32(1)
    for index in range(len(points)):
        x = points[index, 0] * np.float32(size) + np.float32(_AROUND - 0.5)
        y = points[index, 1] * np.float32(size) + np.float32(_AROUND - 0.5)
        if not (first <= x < last and first <= y < last):
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
def _blurred(laid: Float32, kernel: Float32, size: int) -> Float32:
    """Across, then down: a row's cells lie side by side, and the CPU adds many of them at once."""
    channels, reach = laid.shape[2], len(kernel) // 2
    length, start = size * channels, _AROUND - reach
    rows = laid.reshape(len(laid), -1)
    across = np.zeros((size + 2 * reach, length), np.float32)
    blurred = np.zeros((size, length), np.float32)
    for row in range(len(across)):
        _add_taps(across[row], rows[start + row, start * channels :], channels, kernel)
    down = across.reshape(-1)
    for row in range(size):
        _add_taps(blurred[row], down[row * length :], length, kernel)
    return blurred.reshape(size, size, channels)


@compiled
def _add_taps(sums: Float32, cells: Float32, step: int, kernel: Float32) -> None:
    """Add to each sum the cells from its place on, ``step`` apart, times the kernel, four in one go."""
    taps, length = len(kernel), len(sums)
    for tap in range(0, taps - 3, 4):
        _add_four(
            sums,
            cells[tap * step :][:length],
            cells[(tap + 1) * step :][:length],
            cells[(tap + 2) * step :][:length],
            cells[(tap + 3) * step :][:length],
            kernel[tap],
            kernel[tap + 1],
            kernel[tap + 2],
            kernel[tap + 3],
        )
    for tap in range(taps - taps % 4, taps):
        rest, weight = cells[tap * step :][:length], kernel[tap]
        for index in range(length):
            sums[index] += weight * rest[index]


@compiled
def _add_four(
    sums: Float32,
    first: Float32,
    second: Float32,
    third: Float32,
    fourth: Float32,
    a: np.float32,
    b: np.float32,
    c: np.float32,
    d: np.float32,
) -> None:
    for index in range(len(sums)):
        sums[index] += a * first[index] + b * second[index] + c * third[index] + d * fourth[index]


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
