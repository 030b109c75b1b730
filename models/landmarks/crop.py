"""Cuts the square face region that generators work on out of a picture."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

__all__ = ["CROP_FACES", "face_crop", "face_size", "warp_to_square"]

#: Side of the crop in face sizes (patent [0202]: the face region at a preset size).
CROP_FACES: Final = 1.9


def face_size(landmarks: np.ndarray) -> float:
    """The larger of height and width of the landmarks' box ([N, >=2]), in their unit."""
    return float(np.ptp(np.asarray(landmarks)[:, :2], axis=0).max())


def face_crop(
    image: np.ndarray, landmarks: np.ndarray, size: int, *, faces: float = CROP_FACES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a square around a face, the face's box in its middle.

    Where the square leaves the picture, its border is repeated and blurred more the farther out it lies,
    so that no streaks lead the eye there.

    Args:
        image: RGB uint8 [H, W, 3].
        landmarks: [478, 3] in pixels of ``image``.
        size: side of the crop in pixels.
        faces: side of the crop in face sizes.

    Returns:
        crop uint8 [size, size, 3]; landmarks float32 [478, 3] in pixels of the crop (z scaled alike);
        transform float64 [2, 3] from pixels of the picture to pixels of the crop.

    Raises:
        ValueError: the landmarks are not finite, or span no area.
    """
    extent = face_size(landmarks)
    if not np.isfinite(landmarks).all() or extent < 1.0:
        raise ValueError("the landmarks span no face")
    scale = size / (faces * extent)
    centre = (landmarks[:, :2].min(0) + landmarks[:, :2].max(0)) / 2
    transform = np.zeros((2, 3))
    transform[0, 0] = transform[1, 1] = scale
    transform[:, 2] = size / 2 - scale * np.asarray(centre, np.float64)
    crop = _soften_border(warp_to_square(image, transform, size), transform, image.shape[:2])
    moved = np.asarray(landmarks, np.float64) * scale
    moved[:, :2] += transform[:, 2]
    return crop, moved.astype(np.float32), transform


def warp_to_square(image: np.ndarray, transform: np.ndarray, size: int) -> np.ndarray:
    """Resample ``image`` by ``transform`` ([2, 3], picture -> output pixels) to [size, size, 3].

    Shrinks by area first where the transform shrinks by more than two, so that nothing aliases; pixels
    outside the picture repeat its border.
    """
    scale = float(np.hypot(transform[0, 0], transform[1, 0]))
    transform = np.asarray(transform, np.float64).copy()
    if scale < 0.5:
        # Only the part of the picture that is seen, and an integer factor, keep this cheap and exact.
        factor = int(1 / scale)
        inverse = cv2.invertAffineTransform(transform)
        corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ inverse[:, :2].T + inverse[:, 2]
        height, width = image.shape[:2]
        x0, y0 = (np.clip(np.floor(corners.min(0)) - factor, 0, [width - 1, height - 1])).astype(int)
        x1, y1 = (np.clip(np.ceil(corners.max(0)) + factor, [x0 + 1, y0 + 1], [width, height])).astype(int)
        part = image[y0:y1, x0:x1]
        columns, rows = max(part.shape[1] // factor, 1), max(part.shape[0] // factor, 1)
        image = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
        step = np.array([part.shape[1] / columns, part.shape[0] / rows])
        # Pixel centres: full = (small + 0.5) * step - 0.5 + offset.
        transform[:, 2] += transform[:, :2] @ ([x0, y0] + 0.5 * step - 0.5)
        transform[:, :2] = transform[:, :2] * step
    return cv2.warpAffine(
        image, transform, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _soften_border(crop: np.ndarray, transform: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    """Blur what lies outside the picture, more the farther out."""
    size = crop.shape[0]
    scale, (left, top) = transform[0, 0], transform[:, 2]
    right, bottom = left + scale * picture[1], top + scale * picture[0]
    if left <= 0 and top <= 0 and right >= size and bottom >= size:
        return crop
    at = np.arange(size, dtype=np.float32)
    beyond_x = np.maximum(np.maximum(left - at, at - right + 1), 0)
    beyond_y = np.maximum(np.maximum(top - at, at - bottom + 1), 0)
    beyond = np.maximum(beyond_x[None, :], beyond_y[:, None])
    result = crop.astype(np.float32)
    for sigma in (size / 64, size / 32, size / 16):
        blurred = cv2.GaussianBlur(crop, (0, 0), sigma).astype(np.float32)
        weight = np.clip(beyond / (2 * sigma), 0, 1)[..., None]
        result += weight * (blurred - result)
    return np.asarray(np.rint(result), np.uint8)
