"""Soft regions of the face that a template may take over: brows, eyes, mouth."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.geometry import Float64, canonical_face

__all__ = ["REGIONS", "cover_of_points", "region_weights"]

REGIONS: Final = ("right_brow", "left_brow", "right_eye", "left_eye", "mouth")

#: Which landmarks a region grows from, and how far (in units of the canonical face, which is 3.2 high).
_SEEDS: Final = (
    (np.concatenate([face.RIGHT_EYEBROW_UPPER, face.RIGHT_EYEBROW_LOWER]), 0.16),
    (np.concatenate([face.LEFT_EYEBROW_UPPER, face.LEFT_EYEBROW_LOWER]), 0.16),
    (np.concatenate([face.RIGHT_EYE_RING, face.RIGHT_IRIS]), 0.13),
    (np.concatenate([face.LEFT_EYE_RING, face.LEFT_IRIS]), 0.13),
    (face.LIPS, 0.45),
)
#: Weight of "no region" against the five: points far from all of them belong to none.
_REST: Final = 0.05


@cache
def region_weights() -> Float64:
    """How much each landmark belongs to each of :data:`REGIONS`, ``[5, 478]``; sums to at most one."""
    points = canonical_face()[:, :2]
    near = []
    for seeds, width in _SEEDS:
        squared = ((points[:, None] - points[None, seeds]) ** 2).sum(-1).min(1)
        near.append(np.exp(-squared / (2 * width**2)))
    stacked = np.stack(near)
    shares = stacked / (stacked.sum(0) + _REST)
    for row, (seeds, _) in enumerate(_SEEDS):
        if "eye" in REGIONS[row]:  # a lid that were its brow's in part would never quite close
            shares[:, seeds] = 0.0
            shares[row, seeds] = 1.0
    return np.asarray(shares)


def cover_of_points(cover: Mapping[str, float]) -> npt.NDArray[np.float32]:
    """Share of a face's own expression that is replaced at each landmark, ``[478, 1]``.

    Args:
        cover: 0..1 for each of :data:`REGIONS`; what is left out is 0.
    """
    shares = np.array([cover.get(name, 0.0) for name in REGIONS])
    return np.asarray((shares @ region_weights())[:, None], np.float32)
