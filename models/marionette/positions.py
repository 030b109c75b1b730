"""Sinusoidal encoding of the positions that attention compares (Eq. 15)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["positional_encoding"]


def positional_encoding(height: int, width: int, channels: int) -> npt.NDArray[np.float32]:
    """Sinusoidal encoding of relative coordinates (Eq. 15, [0187]): ``[channels, height, width]``.

    Half of the channels encode the row, half the column; coordinates are divided by the map's size.

    Raises:
        ValueError: ``channels`` is not a multiple of four.
    """
    if channels % 4:
        raise ValueError(f"channels must be a multiple of 4, not {channels}")
    frequency = 10000.0 ** (2.0 * np.arange(channels // 4) / channels)[:, None]
    rows = 256.0 * np.arange(height) / (height * frequency)
    columns = 256.0 * np.arange(width) / (width * frequency)
    encoding = np.empty((channels // 4, 4, height, width), np.float32)
    encoding[:, 0] = np.sin(rows)[:, :, None]
    encoding[:, 1] = np.cos(rows)[:, :, None]
    encoding[:, 2] = np.sin(columns)[:, None, :]
    encoding[:, 3] = np.cos(columns)[:, None, :]
    return encoding.reshape(channels, height, width)
