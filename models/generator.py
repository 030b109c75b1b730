"""What every generator offers: encode a target once, then make a frame of it from landmarks, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.landmarks.crop import CROP_FACES

#: Side of the target crops that generators are given, in pixels.
TARGET_CROP = 512

Picture = npt.NDArray[np.uint8]
Landmarks = npt.NDArray[np.float32]

__all__ = ["CROP_FACES", "TARGET_CROP", "Generator", "Landmarks", "Picture", "TargetFeatures"]


class TargetFeatures(Protocol):
    """What a generator keeps of a target; only that generator knows what is in it.

    Attributes:
        landmarks: of the reference photo, float32 ``[478, 3]`` in pixels of the 512 crop. Retargeting puts
            the driver's motion onto these.
    """

    @property
    def landmarks(self) -> Landmarks: ...


class Generator(Protocol):
    """Turns a target's photos and a driver's retargeted landmarks into pictures.

    Attributes:
        name: for people and statistics.
        size: pixels a side of the pictures.
        best_batch: frames worth generating together; 1 where a batch costs what its frames cost alone, so
            that none should wait for another.
    """

    name: str
    size: int
    best_batch: int

    def encode_target(self, images: Picture, landmarks: Landmarks) -> TargetFeatures:
        """All that does not depend on the driver; done once for a target.

        Args:
            images: ``[K, 512, 512, 3]`` RGB, crops of one person.
            landmarks: ``[K, 478, 3]`` in pixels of the crops.
        """
        ...

    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        """One picture for each pair of target and landmarks.

        Args:
            targets: B targets, in any mixture.
            landmarks: ``[B, 478, 3]`` in pixels of the 512 crop: each target's face in the pose and
                expression to be shown.

        Returns:
            ``[B, size, size, 3]`` RGB.
        """
        ...
