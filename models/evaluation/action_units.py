"""Facial action units from landmarks, relative to a person's own face at rest: what AUCON compares."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.features import eye_heights, lip_gap, mouth_width
from models.landmarks.geometry import Float64, normalise

__all__ = ["ACTION_UNITS", "SPREAD", "action_units", "agreement", "states"]

#: What is measured, and which action units (Ekman's numbers) raise / lower it.
ACTION_UNITS: Final = {
    "inner brows": "AU1 / AU4",
    "outer brows": "AU2 / AU4",
    "brows apart": "- / AU4",
    "right eye": "AU5 / AU43, AU45",
    "left eye": "AU5 / AU43, AU45",
    "upper lip": "AU10 / -",
    "lip corners": "AU12 / AU15",
    "mouth width": "AU20, AU12 / AU18",
    "lips apart": "AU25 / AU24",
    "jaw": "AU26, AU27 / AU17",
}

#: Standard deviation of each measure within a person, in normalised units: root mean square over 84 people
#: of training clips. A measure counts as raised or lowered beyond :data:`_ACTIVE` of it.
SPREAD: Final = np.array([0.0243, 0.0245, 0.0145, 0.0257, 0.0272, 0.0324, 0.0369, 0.0697, 0.0731, 0.0519])
_ACTIVE: Final = 0.75

_INNER_BROWS, _OUTER_BROWS = (107, 55, 336, 285), (70, 105, 300, 334)
_INNER_CORNERS, _OUTER_CORNERS = (133, 362), (33, 263)
_LIP_CORNERS, _NOSE_BASE, _UPPER_LIP, _CHIN = (61, 291), 2, 0, 152


def action_units(landmarks: npt.ArrayLike) -> Float64:
    """Measures of :data:`ACTION_UNITS`, ``[10]``, in units of the normalised face.

    Heights are taken along the head's own vertical, so that a nod does not raise brows.

    Args:
        landmarks: ``[478, 3]``, in any unit.

    Raises:
        ValueError: they are not finite, or lie all in one place.
    """
    points, _ = normalise(landmarks)

    def height(indices: tuple[int, ...]) -> float:
        return float(-points[list(indices), 1].mean())  # y points down

    eyes = eye_heights(points)
    nose = -points[_NOSE_BASE, 1]
    return np.array(
        [
            height(_INNER_BROWS) - height(_INNER_CORNERS),
            height(_OUTER_BROWS) - height(_OUTER_CORNERS),
            points[face.LEFT_EYEBROW_LOWER[-1], 0] - points[face.RIGHT_EYEBROW_LOWER[-1], 0],
            eyes[0],
            eyes[1],
            -points[_UPPER_LIP, 1] - nose,
            height(_LIP_CORNERS) - nose,
            mouth_width(points),
            lip_gap(points),
            nose + points[_CHIN, 1],
        ]
    )


def states(measures: Float64, rest: Float64) -> npt.NDArray[np.int8]:
    """Lowered (-1), at rest (0) or raised (1), ``[10]``, for measures of a person whose rest is ``rest``."""
    relative = (measures - rest) / SPREAD
    return (np.sign(relative) * (np.abs(relative) > _ACTIVE)).astype(np.int8)


def agreement(shown: npt.NDArray[np.int8], wanted: npt.NDArray[np.int8]) -> float:
    """AUCON: the share of measures that are in the same state, 0..1.

    The paper counts equal outputs of OpenFace's action unit classifiers; these are geometry, each person
    measured from their own mean face. Figures compare methods with each other, not with the paper.
    """
    return float((shown == wanted).mean())
