"""Cuts upright, centred faces out of pictures: what the landmark transformer's image encoder sees."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.landmarks.crop import warp_to_square
from models.landmarks.geometry import Pose

__all__ = ["aligned_face"]

#: Side of the crop in units of the canonical face, which is 3.2 high.
_SIDE: Final = 3.6


def aligned_face(image: npt.NDArray[np.uint8], pose: Pose, size: int) -> npt.NDArray[np.uint8]:
    """Turn, scale and shift a picture so that the head of ``pose`` is upright and fills it.

    Only what a similarity of the picture can undo is undone: roll, scale and place, not yaw and pitch.

    Args:
        image: RGB uint8 ``[H, W, 3]``.
        pose: of the face in it, from :func:`models.landmarks.geometry.normalise`.
        size: pixels a side of the result.

    Returns:
        uint8 ``[size, size, 3]``.
    """
    roll = np.arctan2(pose.rotation[1, 0], pose.rotation[0, 0])
    scale = size / (_SIDE * pose.scale)
    cosine, sine = scale * np.cos(roll), scale * np.sin(roll)
    transform = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    transform[:, 2] = size / 2 - transform[:, :2] @ pose.translation[:2]
    return np.asarray(warp_to_square(image, transform, size), np.uint8)
