"""A target's neutral face for templates: few-shot (Eq. 6), mended where estimates shrink to the average."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.features import eye_heights
from models.landmarks.geometry import Float64, normalise
from models.landmarks.identity import few_shot
from models.templates.fields import SMILE, fields

__all__ = ["neutral_face"]

#: What is left of a smile for each unit of it that the few-shot estimate takes away. Between neutral and
#: smiling portraits of ten held-out people (Face Research Lab London Set) the estimate changes by 0.49 mean
#: smiles where the faces change by 0.89: estimates shrink towards the average.
_LEFT_OVER: Final = 0.8
_EYES: Final = (face.SEMANTIC_GROUPS["right_eye"], face.SEMANTIC_GROUPS["left_eye"])


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
    own = normalise(landmarks[photo])[0]
    taken = (own - estimate)[face.LIPS]
    amount = float((taken * lips).sum() / (lips**2).sum())
    neutral = np.asarray(estimate - _LEFT_OVER * max(amount, 0.0) * smile)
    # the photo knows better how large its eyes are, unless they are narrowed or closed
    wider = eye_heights(own) > eye_heights(neutral)
    for group, iris, wide in zip(_EYES, (face.RIGHT_IRIS, face.LEFT_IRIS), wider, strict=True):
        if wide:
            neutral[group] = own[group]
            neutral[iris] = own[iris]
    return neutral
