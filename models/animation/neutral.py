"""A target's neutral face where its photo smiles: few-shot estimates take too little of a smile away."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.geometry import Float64, normalise
from models.landmarks.identity import few_shot
from models.templates.fields import SMILE, fields

__all__ = ["neutral_face"]

#: What is left of a smile for each unit of it that the few-shot estimate takes away. Between neutral and
#: smiling portraits of ten held-out people (Face Research Lab London Set) the estimate changes by 0.49 mean
#: smiles where the faces change by 0.89: estimates shrink towards the average.
_LEFT_OVER: Final = 0.8


def neutral_face(images: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.float32], photo: int) -> Float64:
    """Neutral face, normalised ``[478, 3]``, of a person from K photos.

    Args:
        images: ``[K, H, W, 3]`` RGB.
        landmarks: ``[K, 478, 3]``, pixels of the photos.
        photo: which of them is going to be moved.
    """
    estimate = few_shot().target(images, landmarks)
    smile = fields()[SMILE]
    lips = smile[face.LIPS]
    taken = (normalise(landmarks[photo])[0] - estimate)[face.LIPS]
    amount = float((taken * lips).sum() / (lips**2).sum())
    return np.asarray(estimate - _LEFT_OVER * max(amount, 0.0) * smile)
