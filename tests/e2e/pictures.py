"""What a picture shows: which target's face, and how far its mouth is open."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from models.landmarks.detector import FaceDetector


def decode(picture: str | bytes) -> np.ndarray:
    """RGB uint8 [256, 256, 3] of an encoded picture or a data URL."""
    data = base64.b64decode(picture.partition(",")[2]) if isinstance(picture, str) else picture
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize((256, 256)))


def layout(image: np.ndarray) -> np.ndarray:
    """Colours by place (CIELAB [12, 12, 3]), so coarse that a face that turns or talks stays near itself."""
    middle = image[24:-24, 24:-24]
    small = cv2.resize(middle, (12, 12), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean colour difference (CIELAB units) of two pictures' layouts."""
    return float(np.linalg.norm(layout(a) - layout(b), axis=-1).mean())


def recognise(image: np.ndarray, gallery: Mapping[str, np.ndarray]) -> str:
    """The gallery's target that a picture is nearest to."""
    return min(gallery, key=lambda name: distance(image, gallery[name]))


def mouth_openings(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Gap between the inner lips in face heights, for each picture; NaN where no face is found."""
    openings = []
    with FaceDetector(static=True) as detector:
        for picture in pictures:
            enlarged = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            found = detector.detect(enlarged)
            if not len(found):
                openings.append(np.nan)
                continue
            landmarks = np.asarray(found[0])
            height = np.linalg.norm(landmarks[152, :2] - landmarks[10, :2])
            openings.append(float(np.linalg.norm(landmarks[14, :2] - landmarks[13, :2]) / height))
    return np.array(openings)


def brow_heights(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Mean gap between brows and upper lids in face heights, for each picture; NaN where no face is found."""
    heights = []
    with FaceDetector(static=True) as detector:
        for picture in pictures:
            enlarged = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            found = detector.detect(enlarged)
            if not len(found):
                heights.append(np.nan)
                continue
            landmarks = np.asarray(found[0])[:, :2]
            height = np.linalg.norm(landmarks[152] - landmarks[10])
            gaps = np.linalg.norm(landmarks[[105, 334]] - landmarks[[159, 386]], axis=1)
            heights.append(float(gaps.mean() / height))
    return np.array(heights)


def best_correlation(
    driver: Sequence[tuple[float, float]], seen: Sequence[tuple[float, float]], most_lag: float
) -> tuple[float, float]:
    """Correlate two series of (seconds, value) over the lags of the second one.

    Returns:
        The greatest correlation coefficient, and the lag (seconds) at which it is reached.
    """
    times, values = np.array(driver).T
    seen_times, seen_values = np.array(seen).T
    best = (-1.0, 0.0)
    for lag in np.arange(0, most_lag, 0.02):
        shifted = seen_times - lag
        inside = (shifted >= times[0]) & (shifted <= times[-1])
        if inside.sum() < 10:
            continue
        expected = np.interp(shifted[inside], times, values)
        if expected.std() == 0 or seen_values[inside].std() == 0:
            continue
        best = max(best, (float(np.corrcoef(expected, seen_values[inside])[0, 1]), float(lag)))
    return best
