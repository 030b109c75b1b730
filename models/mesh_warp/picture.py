"""From a flow to a picture: the photo warped, then eyes and mouth drawn where smooth flow cannot follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from models.generator import TARGET_CROP, Landmarks, Picture
from models.mesh_warp.eyes import EyePlate, draw_eyes, eye_plates
from models.mesh_warp.mouth import MouthPlate, draw_mouth, mouth_plate

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FacePlates:
    """Eyes and mouth of a photo, taken apart once.

    Attributes:
        eyes: right and left; None for one outside the photo.
        mouth: with its lips' edges.
    """

    eyes: list[EyePlate | None]
    mouth: MouthPlate

    @classmethod
    def of(cls, photo: Picture, points: Float32) -> FacePlates:
        """Take a photo ``[S, S, 3]`` apart; ``points`` ``[478, >=2]`` in its pixels."""
        return cls(eye_plates(photo, points), mouth_plate(photo, points))

    def draw(self, picture: Picture, shown: Float32, opened: Float32) -> None:
        """Draw them over the warped photo, in place.

        Args:
            picture: ``[S, S, 3]``.
            shown: landmarks ``[478, >=2]`` as they should be, pixels of the picture.
            opened: what :func:`models.mesh_warp.eyes.with_open_eyes` gave for them.
        """
        draw_mouth(picture, shown, self.mouth)
        draw_eyes(picture, shown, opened, self.eyes)


def warp_photo(photo: Picture, flow: Float32) -> Picture:
    """The photo ``[S, S, 3]`` sampled where a flow ``[h, w, 2]`` (units of the crop) points."""
    size = photo.shape[0]
    places = cv2.resize(flow * np.float32(size), (size, size), interpolation=cv2.INTER_LINEAR)
    places += _grid(size)
    warped = cv2.remap(photo, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def to_picture_pixels(landmarks: Landmarks, size: int) -> Float32:
    """Pixels of the 512 crop to pixels of a picture of ``size`` a side, ``[478, 3]``."""
    scale = size / TARGET_CROP
    points = np.asarray(landmarks, np.float32) * np.float32(scale)
    points[:, :2] += np.float32(0.5 * scale - 0.5)
    return points


@lru_cache(maxsize=4)
def _grid(size: int) -> Float32:
    rows = np.arange(size, dtype=np.float32)
    return np.stack(np.meshgrid(rows, rows), axis=-1)
