"""Draws landmarks as coloured lines: how the generator's encoders see pose and expression."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.landmarks.topology import RASTER_LINES

#: Sub-pixel bits of the line ends: lines move smoothly with the face instead of by whole pixels.
_SHIFT = 4


def draw_landmarks(landmarks: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.uint8]:
    """Rasterise landmarks ([0091], [0140]).

    Args:
        landmarks: ``[478, >=2]`` in units of the picture (0..1).
        size: pixels a side.

    Returns:
        uint8 ``[size, size, 3]``; each colour holds some semantic groups, so that neighbours differ.
    """
    points = np.clip(landmarks[:, :2], -1.0, 2.0) * size - 0.5
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    thickness = 1 if size < 192 else 2
    channels = []
    for lines in RASTER_LINES:
        channel = np.zeros((size, size), np.uint8)
        cv2.polylines(
            channel, [fixed[line] for line in lines], False, 255, thickness, cv2.LINE_AA, shift=_SHIFT
        )
        channels.append(channel)
    return np.stack(channels, axis=-1)
