"""Puts the moving face back into the whole photo that it was cut from."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.generator import Picture

__all__ = ["WholePhoto"]

#: Longest side of the result in pixels.
MAX_SIDE: Final = 1920
#: Share of the crop at its edge that stays the photo's, and over which the moving face then takes over.
#: Generators leave the outermost part of their picture still.
_EDGE, _FEATHER = 0.02, 0.10


class WholePhoto:
    """A photo in which one face moves.

    The result is as large as the photo, but no larger than lets the generated face keep its sharpness: beside
    a face drawn finer than the generator does, the moving one would be seen to change.

    Args:
        photo: ``[H, W, 3]`` RGB.
        transform: ``[2, 3]``, from pixels of the photo to pixels of the 512 crop.
        crop: side of the crop that ``transform`` leads to, pixels.
        still: ``[size, size, 3]``, the generator's picture of the photo as it is.
    """

    def __init__(self, photo: Picture, transform: npt.NDArray[np.float64], crop: int, still: Picture) -> None:
        size = still.shape[0]
        to_generated = size / crop
        per_pixel = float(np.hypot(transform[0, 0], transform[1, 0])) * to_generated
        height, width = photo.shape[:2]
        scale = min(1.0, per_pixel, MAX_SIDE / max(height, width))
        # even sides: video halves them for colour
        out_width, out_height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
        self.still: Picture = np.ascontiguousarray(
            cv2.resize(photo, (out_width, out_height), interpolation=cv2.INTER_AREA), np.uint8
        )
        self._generated_still = still
        # pixel centres: photo -> crop -> generated, and the same from the scaled photo
        step = np.array([width / out_width, height / out_height])
        linear = transform[:, :2] * to_generated
        offset = (transform[:, 2] + 0.5) * to_generated - 0.5 + linear @ (0.5 * step - 0.5)
        to_face = np.concatenate([linear * step, offset[:, None]], axis=1)
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) - 0.5
        inverse = cv2.invertAffineTransform(to_face)
        spread = corners @ inverse[:, :2].T + inverse[:, 2]
        left, top = (int(v) for v in np.clip(np.floor(spread.min(0)), 0, [out_width, out_height]))
        right, bottom = (int(v) for v in np.clip(np.ceil(spread.max(0)) + 1, 0, [out_width, out_height]))
        self._region = slice(top, bottom), slice(left, right)
        self._region_size = right - left, bottom - top
        to_face[:, 2] += to_face[:, :2] @ [left, top]
        self._to_face = to_face
        ramp = np.clip((np.minimum(np.arange(size), np.arange(size)[::-1]) / size - _EDGE) / _FEATHER, 0, 1)
        ramp = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
        share = self._warped(np.minimum.outer(ramp, ramp), cv2.BORDER_CONSTANT)
        self._share = share.astype(np.float32)[..., None]

    def show(self, face: Picture) -> Picture:
        """The photo with the generated picture ``[size, size, 3]`` in the face's place; a new array."""
        picture = self.still.copy()
        if face is not self._generated_still and not np.array_equal(face, self._generated_still):
            part = picture[self._region].astype(np.float32)
            moved = self._warped(face, cv2.BORDER_REPLICATE).astype(np.float32)
            picture[self._region] = np.rint(part + self._share * (moved - part)).astype(np.uint8)
        return picture

    def _warped(self, face: npt.NDArray[np.generic], border: int) -> npt.NDArray[np.generic]:
        return np.asarray(
            cv2.warpAffine(
                face,
                self._to_face,
                self._region_size,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=border,
            )
        )
