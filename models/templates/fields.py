"""Expression fields: how the whole face goes along when one feature moves, averaged over many people.

Six fields are the coefficients of a regression of people's expressions (Eq. 11: each frame minus its own
person's mean) on six measures of brows and mouth; each clip counts the same, and with its mirror image. The
smile is the mean difference between a smiling and a neutral portrait of 72 people. No person's identity is in
any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from models.landmarks.geometry import Float64, canonical_face
from models.landmarks.topology import MIRROR

__all__ = ["FIELDS", "SMILE", "feature_measures", "fields", "fit_fields", "mean_difference"]

#: One unit of a field moves its feature by one unit of the canonical face: lips apart; corners of the mouth
#: down; mouth wider; inner ends of the brows down; outer ends down; brows apart.
FIELDS: Final = ("jaw_open", "corners_down", "wide", "inner_brows_down", "outer_brows_down", "brows_apart")
#: One unit is the mean smile.
SMILE: Final = "smile"

_FILE: Final = Path(__file__).parent / "fields.safetensors"
_FLIP: Final = np.array([-1.0, 1.0, 1.0])
_RIDGE: Final = 1e-6


def feature_measures(expression: npt.NDArray[np.floating]) -> Float64:
    """The six measures of expressions ``[F, 478, 3]``, ``[F, 6]``, in the order of :data:`FIELDS`."""
    x, y = expression[..., 0], expression[..., 1]
    return np.stack(
        [
            y[:, 14] - y[:, 13],
            y[:, [61, 291]].mean(1) - y[:, [13, 0]].mean(1),
            x[:, 291] - x[:, 61],
            y[:, [107, 336, 55, 285]].mean(1),
            y[:, [70, 300, 46, 276]].mean(1),
            x[:, 285] - x[:, 55],
        ],
        axis=1,
    ).astype(np.float64)


def fit_fields(
    expression: npt.NDArray[np.floating], video: npt.NDArray[np.integer]
) -> dict[str, npt.NDArray[np.float32]]:
    """Fit the six fields.

    Args:
        expression: ``[F, 478, 3]``, of a landmark store.
        video: ``[F]``, which clip each row is of.

    Returns:
        ``[478, 3]`` each, symmetric, restricted to the part of the face that the measure is of.
    """
    weight = 1.0 / np.bincount(video)[video]
    gram, moment = np.zeros((6, 6)), np.zeros((6, expression[0].size))
    for mirrored in (False, True):
        for start in range(0, len(expression), 4096):
            rows = slice(start, start + 4096)
            part = np.asarray(expression[rows], np.float64)
            part = part[:, MIRROR] * _FLIP if mirrored else part
            measures = feature_measures(part)
            weighted = measures * weight[rows, None]
            gram += weighted.T @ measures
            moment += weighted.T @ part.reshape(len(part), -1)
    solved = np.linalg.solve(gram + _RIDGE * np.eye(6), moment).reshape(6, *expression.shape[1:])
    upper, lower = _parts()
    return {
        name: (field * (upper if "brow" in name else lower)).astype(np.float32)
        for name, field in zip(FIELDS, solved, strict=True)
    }


def mean_difference(pairs: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Mean over people of (expression, neutral) pairs' difference, made symmetric.

    Args:
        pairs: ``[P, 2, 478, 3]`` normalised landmarks: neutral, then with the expression.
    """
    mean = np.asarray(pairs[:, 1] - pairs[:, 0], np.float64).mean(0)
    return np.asarray(0.5 * (mean + mean[MIRROR] * _FLIP), np.float32)


@cache
def fields() -> Mapping[str, Float64]:
    """The shipped fields by name, ``[478, 3]`` each: :data:`FIELDS` and :data:`SMILE`."""
    return {name: field.astype(np.float64) for name, field in load_file(_FILE).items()}


def _parts() -> tuple[Float64, Float64]:
    """Upper and lower face as weights ``[478, 1]``: what one regresses on must not move the other."""
    height = canonical_face()[:, 1:2]
    upper = 1.0 / (1.0 + np.exp((height + 0.74) / 0.04))
    lower = 1.0 / (1.0 + np.exp(-(height + 0.1) / 0.08))
    return upper, lower
