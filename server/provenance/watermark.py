"""The invisible watermark: weaves the pattern into pictures, more of it where there is much to see."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from server.provenance.pattern import TILE, tile

__all__ = ["Watermark"]

Plane = npt.NDArray[np.uint8]

#: Root mean square of the pattern in grey levels: where the picture is flat, and at most.
_LEAST: Final = 0.5
_MOST: Final = 2.2
#: More grey levels of pattern for each grey level of detail.
_SLOPE: Final = 0.45
#: No peak of the pattern is higher than this many times its root mean square: peaks are what is seen first.
_PEAK: Final = 2.2
#: Detail is looked at in squares of this many pixels.
_BLOCK: Final = 8


class Watermark:
    """Weaves the watermark into pictures of one size; all that does not depend on the picture is made once.

    Args:
        width, height: pixels of the pictures.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._blocks = (max(1, width // _BLOCK), max(1, height // _BLOCK))
        repeats = (-(-height // TILE), -(-width // TILE))
        clipped = np.clip(np.tile(tile(), repeats)[:height, :width], -_PEAK, _PEAK)
        self._pattern = np.ascontiguousarray(clipped, np.float32)

    def apply(self, luma: Plane) -> None:
        """Weave it into a luma plane ``[height, width]`` in place."""
        cv2.add(luma, self._woven(luma), dst=luma, dtype=cv2.CV_8U)

    def apply_rgb(self, picture: npt.NDArray[np.uint8]) -> None:
        """Weave it into an RGB picture ``[height, width, 3]`` in place: into its lightness alone."""
        woven = self._woven(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        cv2.add(picture, cv2.merge([woven, woven, woven]), dst=picture, dtype=cv2.CV_8U)

    def _woven(self, luma: Plane) -> npt.NDArray[np.float32]:
        """The pattern, in grey levels, as strong as this picture hides it."""
        # as coarse as the pattern itself: finer detail, such as a halftone, does not hide it
        detail = cv2.absdiff(cv2.blur(luma, (3, 3)), cv2.blur(luma, (9, 9)))
        coarse = cv2.resize(detail, self._blocks, interpolation=cv2.INTER_AREA)
        # the least of the neighbourhood: beside an outline the flat ground hides nothing
        hidden = cv2.erode(coarse, np.ones((3, 3), np.uint8))
        strength = np.minimum(np.float32(_LEAST) + np.float32(_SLOPE) * hidden, np.float32(_MOST))
        strength = cv2.resize(strength, self._size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.multiply(self._pattern, strength), np.float32)
