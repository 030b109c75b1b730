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

    Points farther than a quarter of the grid outside it are left out.

    Args:
        points: ``[N, 2]`` x, y in units of the grid (0..1).
        size: cells a side.
    """

    def __init__(self, points: Float32, size: int) -> None:
        self.size = size
        self._side = size + 2 * MARGIN
        place = points * np.float32(size) + np.float32(MARGIN - 0.5)
        outside = (place < 0) | (place >= self._side - 1)
        place[outside.any(1)] = 0.0
        whole = place.astype(np.intp)
        px, py = (place - whole).T
        corner = whole[:, 1] * self._side + whole[:, 0]
        self._cells = np.concatenate([corner, corner + 1, corner + self._side, corner + self._side + 1])
        self._shares = np.stack([(1 - px) * (1 - py), px * (1 - py), (1 - px) * py, px * py])
        if outside.any():
            self._shares[:, outside.any(1)] = 0.0

    def laid(self, values: Float32) -> Float32:
        """Each point's values, ``[C, N]``, between the cells around it: ``[side, side, C]`` with margin."""
        cells = self._side**2
        maps = [np.bincount(self._cells, (self._shares * value).ravel(), cells) for value in values]
        return np.stack(maps, axis=-1).astype(np.float32).reshape(self._side, self._side, -1)

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


@lru_cache(maxsize=16)
def blur_kernel(sigma: float) -> Float32:
    """A Gaussian of ``sigma`` cells and height 1, less what laying down between cells has spread already."""
    reach = int(np.ceil(3 * sigma))
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * at**2 / (sigma**2 - _SPREAD))
    return np.asarray(kernel * (sigma * np.sqrt(2 * np.pi) / kernel.sum()), np.float32)
