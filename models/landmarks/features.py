"""Lids, lips and irises of normalised landmarks: how open they are, and setting them so."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.geometry import Float64

__all__ = [
    "EYES",
    "LIP_PAIRS",
    "close_lips",
    "eye_heights",
    "eye_widths",
    "gaze",
    "lip_gap",
    "mouth_width",
]

#: Right and left eye: upper lid, lower lid (outer to inner corner), iris centre.
EYES: Final = (
    (face.RIGHT_EYE_UPPER, face.RIGHT_EYE_LOWER, 468),
    (face.LEFT_EYE_UPPER, face.LEFT_EYE_LOWER, 473),
)
#: Points of the inner lips that face each other, ``[9, 2]`` (upper, lower), corners left out.
LIP_PAIRS: Final = np.stack([face.LIP_INNER_UPPER, face.LIP_INNER_LOWER], axis=1)[1:-1]
_CORNERS: Final = (78, 308)
#: Where lips meet that are drawn together: nearer to the upper one, for the lower is the one that opens.
_LIP_SEAM: Final = 0.35


def eye_heights(normalised: npt.NDArray[np.floating]) -> Float64:
    """Mean distance between the lids of right and left eye, ``[2]``, in the landmarks' unit."""
    middle = slice(2, -2)
    return np.array(
        [
            np.linalg.norm(normalised[lower[middle]] - normalised[upper[middle]], axis=1).mean()
            for upper, lower, _ in EYES
        ]
    )


def eye_widths(normalised: npt.NDArray[np.floating]) -> Float64:
    """Distance between the corners of right and left eye, ``[2]``."""
    return np.array([np.linalg.norm(normalised[upper[-1]] - normalised[upper[0]]) for upper, _, _ in EYES])


def gaze(normalised: npt.NDArray[np.floating]) -> Float64:
    """Where the irises stand between the corners of the eyes: ``[2]``, right and down, in eye widths.

    Eyes move together: this is the mean of both, with less noise than either.
    """
    offsets = []
    for upper, _, iris in EYES:
        a, b = normalised[upper[0], :2], normalised[upper[-1], :2]
        along = b - a if b[0] > a[0] else a - b
        relative = normalised[iris, :2] - (a + b) / 2
        squared = max(float(along @ along), 1e-9)
        offsets.append(
            [relative @ along / squared, (along[0] * relative[1] - along[1] * relative[0]) / squared]
        )
    return np.mean(offsets, axis=0)


def mouth_width(normalised: npt.NDArray[np.floating]) -> float:
    """Distance between the inner corners of the mouth."""
    return float(np.linalg.norm(normalised[_CORNERS[1]] - normalised[_CORNERS[0]]))


def lip_gap(normalised: npt.NDArray[np.floating]) -> float:
    """Mean distance between the inner edges of the lips, in the landmarks' unit."""
    return float(np.linalg.norm(np.diff(normalised[LIP_PAIRS], axis=1), axis=2).mean())


# The rows of lip points from an inner edge outwards follow it less and less when lips part or meet.
_UPPER_ROWS: Final = (
    (face.LIP_INNER_UPPER, 1.0),
    (np.array([62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292]), 0.85),
    (np.array([76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306]), 0.65),
    (face.LIP_OUTER_UPPER, 0.45),
)
_LOWER_ROWS: Final = (
    (face.LIP_INNER_LOWER, 1.0),
    (np.array([62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292]), 0.85),
    (np.array([76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306]), 0.65),
    (face.LIP_OUTER_LOWER, 0.5),
)


def close_lips(normalised: Float64, kept: Float64 | None = None) -> Float64:
    """The face with the gap between its lips taken away, the lips' rows following their inner edges.

    Args:
        normalised: ``[478, 3]``.
        kept: ``[9]``, share of each pair's gap that stays, 0 to 1; none stays when left out.

    Returns:
        A new array.
    """
    result = normalised.copy()
    upper, lower = normalised[LIP_PAIRS[:, 0]], normalised[LIP_PAIRS[:, 1]]
    taken = (lower - upper) * (1.0 if kept is None else 1.0 - kept[:, None])
    for rows, share in ((_UPPER_ROWS, _LIP_SEAM), (_LOWER_ROWS, _LIP_SEAM - 1.0)):
        for row, follows in rows:
            result[row[1:-1]] += follows * share * taken
    return result
