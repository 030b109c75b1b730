"""Finds every face of a photo, also small ones in large photos, and cuts the one out that a target needs.

The detector of the landmark model sees the whole picture at 128x128 and misses faces under a sixth of
it. To say "exactly one face of 80 px" of a 40-megapixel photo, a wide-range detector looks at the whole
and at overlapping tiles of falling size; the landmark model then confirms each candidate, so that what
only one of two models takes for a face does not count.

Needs mediapipe; runs in the preparation process (:mod:`server.targets.preparer`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

import cv2
import mediapipe as mp
import numpy as np
from numpy.typing import NDArray

from models.landmarks.crop import face_crop
from models.landmarks.detector import FaceDetector
from server.targets.decode import PhotoLimits, decode_photo
from server.targets.errors import PhotoRefused
from server.targets.store import CROP_SIZE

# The wide-range detector works at 192x192 and finds faces of about 13 px there (measured: 20 px always,
# 10 px never); tiles shrink until the smallest accepted face has 17 px in one.
_SMALLEST_SHARE: Final = 0.09
_TILE_RATIO: Final = 3.0
_TILE_STRIDE: Final = 0.6
_DETECTOR_PX: Final = 384
_MAX_CANDIDATES: Final = 48


@dataclass(frozen=True)
class PreparedPhoto:
    """One photo ready for a target.

    Attributes:
        crop: ``[512, 512, 3]`` uint8 RGB.
        landmarks: ``[478, 3]`` float32, pixels of the crop.
        transform: ``[2, 3]``, from pixels of the picture to pixels of the crop.
    """

    crop: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    transform: NDArray[np.float64]


@dataclass(frozen=True)
class _Box:
    """A square-ish region in pixels of the photo."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: _Box) -> float:
        """Intersection as a share of the smaller box."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / max(1e-6, min(self.width * self.height, other.width * other.height))


class PhotoPreparer:
    """Turns the bytes of a photo into a crop with landmarks; holds the models, so one serves many photos.

    Close it, or use it as a context manager: the models have ten threads and about 100 MB.

    Args:
        limits: what a photo may be.
    """

    def __init__(self, limits: PhotoLimits) -> None:
        self._limits = limits
        with ExitStack() as models:
            self._wide: Any = models.enter_context(
                mp.solutions.face_detection.FaceDetection(model_selection=1, min_detection_confidence=0.5)
            )
            self._landmarks = models.enter_context(FaceDetector(static=True, max_faces=4))
            self._single = models.enter_context(FaceDetector(static=True))
            self._models = models.pop_all()

    def close(self) -> None:
        """Release the models. Calling it again does nothing."""
        self._models.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm_up(self) -> None:
        """Make the models allocate what they need."""
        grey = np.full((CROP_SIZE, CROP_SIZE, 3), 128, dtype=np.uint8)
        self.find_faces(grey)
        self._landmarks.detect(grey)
        self._single.detect(grey)

    def prepare(self, content: bytes) -> PreparedPhoto:
        """The face of a photo with exactly one.

        Args:
            content: the bytes of a JPEG, PNG or WebP file.

        Raises:
            PhotoRefused: the file cannot be read, or does not show exactly one face that is large enough.
        """
        return self.prepare_picture(decode_photo(content, self._limits))

    def prepare_picture(self, image: NDArray[np.uint8]) -> PreparedPhoto:
        """The face of a decoded picture ``[H, W, 3]`` uint8 RGB with exactly one.

        Raises:
            PhotoRefused: as :meth:`only_face`.
        """
        crop, moved, transform = face_crop(image, self.only_face(image), CROP_SIZE)
        # Found again on the crop: at the crop's scale the landmarks are those that a driver's will match.
        again = self._single.detect(crop)
        landmarks = again[0] if again else moved
        return PreparedPhoto(np.ascontiguousarray(crop), np.asarray(landmarks, dtype=np.float32), transform)

    def only_face(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Landmarks ``[478, 3]`` of the one face of a picture, in its pixels.

        Args:
            image: ``[H, W, 3]`` uint8 RGB.

        Raises:
            PhotoRefused: the picture does not show exactly one face that is large enough.
        """
        faces = self.find_faces(image)
        large = [face for face in faces if _extent(face) >= self._limits.min_face_px]
        if not faces:
            raise PhotoRefused("no_face", "No face was found: use a photo that shows one from the front.")
        if not large:
            raise PhotoRefused(
                "face_too_small",
                f"The face is {max(_extent(face) for face in faces):.0f} pixels tall; "
                f"at least {self._limits.min_face_px} are needed.",
            )
        if len(large) > 1:
            raise PhotoRefused(
                "several_faces", f"The photo shows {len(large)} faces; it must show one person alone."
            )
        return large[0]

    def find_faces(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Landmarks ``[478, 3]`` in pixels of the picture of each face that both models find.

        Args:
            image: ``[H, W, 3]`` uint8 RGB.
        """
        candidates: list[_Box] = []
        for tile in _tiles(image.shape[1], image.shape[0], self._limits.min_face_px):
            for box in self._candidates(image, tile):
                if all(box.overlap(other) < 0.5 for other in candidates):
                    candidates.append(box)
        faces: list[NDArray[np.float32]] = []
        for box in candidates[:_MAX_CANDIDATES]:
            for landmarks in self._confirm(image, box):
                bounds = _bounds(landmarks)
                if all(bounds.overlap(_bounds(face)) < 0.5 for face in faces):
                    faces.append(landmarks)
        return faces

    def _candidates(self, image: NDArray[np.uint8], tile: _Box) -> Iterator[_Box]:
        left, top = int(tile.x), int(tile.y)
        view = image[top : top + int(tile.height), left : left + int(tile.width)]
        scale = min(1.0, _DETECTOR_PX / max(view.shape[:2]))
        small_size = (max(1, round(view.shape[1] * scale)), max(1, round(view.shape[0] * scale)))
        small = cv2.resize(view, small_size, interpolation=cv2.INTER_AREA)
        found = self._wide.process(np.ascontiguousarray(small))
        for detection in found.detections or []:
            box = detection.location_data.relative_bounding_box
            yield _Box(
                left + box.xmin * view.shape[1],
                top + box.ymin * view.shape[0],
                box.width * view.shape[1],
                box.height * view.shape[0],
            )

    def _confirm(self, image: NDArray[np.uint8], box: _Box) -> list[NDArray[np.float32]]:
        side = 2.2 * max(box.width, box.height)
        left = max(0, int(box.x + box.width / 2 - side / 2))
        top = max(0, int(box.y + box.height / 2 - side / 2))
        view = image[top : top + math.ceil(side), left : left + math.ceil(side)]
        if min(view.shape[:2]) < 8:
            return []
        scale = min(4.0, CROP_SIZE / max(view.shape[:2]))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = np.ascontiguousarray(cv2.resize(view, None, fx=scale, fy=scale, interpolation=method))
        to_photo = view.shape[1] / small.shape[1]
        offset = np.array([left, top, 0], dtype=np.float32)
        return [
            np.asarray(landmarks * to_photo + offset, dtype=np.float32)
            for landmarks in self._landmarks.detect(small)
        ]


def _tiles(width: int, height: int, min_face_px: int) -> Iterator[_Box]:
    """The whole picture, then overlapping square tiles, each level a third the size of the one before."""
    yield _Box(0, 0, width, height)
    if min(width, height) < min_face_px:
        return  # no room for a face, however many tiles a strip of millions of pixels would have
    side = float(max(width, height))
    while side * _SMALLEST_SHARE > min_face_px:
        side = max(side / _TILE_RATIO, min_face_px / _SMALLEST_SHARE)
        for top in _starts(height, side):
            for left in _starts(width, side):
                yield _Box(left, top, min(side, width), min(side, height))


def _starts(length: int, side: float) -> NDArray[np.float64]:
    count = max(1, math.ceil((length - side) / (side * _TILE_STRIDE)) + 1)
    return np.linspace(0, max(0.0, length - side), count)


def _bounds(landmarks: NDArray[np.float32]) -> _Box:
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    return _Box(float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


def _extent(landmarks: NDArray[np.float32]) -> float:
    box = _bounds(landmarks)
    return max(box.width, box.height)
