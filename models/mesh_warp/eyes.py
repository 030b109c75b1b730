"""Draws the eyes: lids pulled over a still eyeball, and irises that turn on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.compiled import float32, uint8
from models.landmarks import topology as face
from models.mesh_warp.eye_pixels import (
    LOWER_LASHES,
    U_FROM,
    U_TO,
    UPPER_LASHES,
    V_FROM,
    V_TO,
    Eyeball,
    Lids,
    paint_eye,
    set_eye,
)
from models.mesh_warp.feature_frame import EdgeTable, FeatureFrame

Picture = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: (lid corner on the picture's left, on its right, upper lid, lower lid, iris: centre and rim)
EYES: Final = (
    (33, 133, face.RIGHT_EYE_UPPER, face.RIGHT_EYE_LOWER, face.RIGHT_IRIS),
    (362, 263, face.LEFT_EYE_UPPER, face.LEFT_EYE_LOWER, face.LEFT_IRIS),
)
_LIDS: Final = [Lids(left, right, upper, lower, int(iris[0])) for left, right, upper, lower, iris in EYES]
#: All landmarks of each eye.
_OWN: Final = [np.concatenate([upper, lower, iris]) for _, _, upper, lower, iris in EYES]


@dataclass(frozen=True)
class EyePlate:
    """One eye of a photo, taken apart.

    Attributes:
        frame, lids: where the eye and its two lids are in the photo.
        corner: ``[2]`` x, y of the plates' first pixel in the photo.
        ball: ``[h, w, 3]``, the eyeball with what lids and lashes cover filled in.
        white: the same without the iris.
        iris: ``[2]``, its centre in pixels of the photo, and
        radius: its radius.
    """

    frame: FeatureFrame
    lids: EdgeTable
    corner: Float32
    ball: Picture
    white: Picture
    iris: Float32
    radius: float

    @cached_property
    def eyeball(self) -> Eyeball:
        """The same for :func:`paint_eye`."""
        (left, top), (iris_x, iris_y) = self.corner.tolist(), self.iris.tolist()
        return Eyeball(
            uint8(self.ball), uint8(self.white), self.frame.pixels, left, top, iris_x, iris_y, self.radius
        )


def eye_plates(photo: Picture, landmarks: Float32) -> list[EyePlate | None]:
    """Take both eyes of a photo apart; None for one that lies outside it.

    Args:
        photo: ``[S, S, 3]``.
        landmarks: ``[478, >=2]``, its pixels.
    """
    plates: list[EyePlate | None] = []
    for left, right, upper, lower, iris in EYES:
        frame = FeatureFrame.between(landmarks[left], landmarks[right])
        window = frame.window((U_FROM, U_TO), (V_FROM, V_TO), photo.shape[0])
        if window is None:
            plates.append(None)
            continue
        lids = EdgeTable.through([frame.to_local(landmarks[upper]), frame.to_local(landmarks[lower])])
        corner = np.array([window[1].start, window[0].start], np.float32)
        centre = landmarks[iris[0], :2]
        radius = max(float(np.hypot(*(landmarks[iris[1:], :2] - centre).T).mean()), 1.0)
        patch = np.ascontiguousarray(photo[window])
        u, v = frame.local_grid(window)
        above, below = lids.at(EdgeTable.index(u))
        seen = (v > above + UPPER_LASHES) & (v < below - LOWER_LASHES) & (u > 0.06) & (u < 0.94)
        ball, white = _completed(patch, seen, centre - corner, radius)
        plates.append(EyePlate(frame, lids, corner, ball, white, np.asarray(centre, np.float32), radius))
    return plates


def _completed(
    patch: Picture, seen: npt.NDArray[np.bool_], centre: Float32, radius: float
) -> tuple[Picture, Picture]:
    """The eyeball with all that is not seen of it filled in, and the same without the iris."""
    rows, columns = patch.shape[:2]
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    distance = np.hypot(x - centre[0], y - centre[1])
    disc = distance < 1.05 * radius
    if seen.sum() < 8 or not (seen & disc).any():
        return patch, patch
    # an iris is round: what the lid covers above is what is seen below
    ball = patch.copy()
    mirrored_y = 2 * centre[1] - y
    mirrored = cv2.remap(patch, x, mirrored_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mirror_seen = cv2.remap(seen.astype(np.uint8), x, mirrored_y, cv2.INTER_NEAREST) > 0
    ball[disc & ~seen] = patch[disc & seen].mean(0)
    taken = disc & ~seen & mirror_seen
    ball[taken] = mirrored[taken]
    known = seen | disc
    ball = cv2.inpaint(ball, (~known).astype(np.uint8), 2, cv2.INPAINT_TELEA)
    sclera = seen & (distance > 1.25 * radius)
    if sclera.sum() < 8:
        return ball, ball
    white = cv2.inpaint(patch, (~sclera).astype(np.uint8), 2, cv2.INPAINT_TELEA)
    return ball, cv2.GaussianBlur(white, (0, 0), max(0.08 * radius, 0.3))


def eyes_in_frames(photo: Float32) -> Float32:
    """Lids and irises of landmarks ``[478, >=2]``, each in its eye's frame: ``[2, n, 2]``."""
    local = []
    for (left, right, *_), own in zip(EYES, _OWN, strict=True):
        frame = FeatureFrame.between(photo[left], photo[right])
        local.append(frame.to_local(photo[own]))
    return np.stack(local).astype(np.float32)


def with_open_eyes(landmarks: Float32, photo: Float32) -> Float32:
    """Landmarks whose lids and irises are as in the photo; the flow is made from these.

    Lids are a few pixels apart, less than a splat is wide: moving them by the flow would squeeze the
    eyeball instead of covering it.

    Args:
        landmarks: ``[478, >=2]`` as they should be shown, pixels.
        photo: ``[478, >=2]`` of the photo, pixels.
    """
    opened, photo = np.array(landmarks, np.float32, order="C"), float32(photo)
    for lids, own in zip(_LIDS, _OWN, strict=True):
        set_eye(opened, photo, lids, own)
    return opened


def draw_eyes(picture: Picture, shown: Float32, opened: Float32, plates: list[EyePlate | None]) -> None:
    """Set lids and irises as they should be, in place.

    Args:
        picture: ``[S, S, 3]``, warped with the eyes open.
        shown: landmarks ``[478, >=2]`` as they should be, pixels of the picture.
        opened: what :func:`with_open_eyes` gave for them.
        plates: of the photo.
    """
    for lids, plate in zip(_LIDS, plates, strict=True):
        if plate is not None:
            paint_eye(picture, float32(shown), float32(opened), lids, plate.eyeball)
