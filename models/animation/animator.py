"""Moves a target's photo: by templates, from exactly the photo on, or by a driver's motion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import cv2
import numpy as np

from models.animation.neutral import neutral_face
from models.generator import Generator, Landmarks, Picture
from models.landmarks.driver import DriverMotion
from models.landmarks.features import close_lips
from models.landmarks.geometry import Float64, normalise
from models.landmarks.retarget import RetargetTarget, retarget
from models.templates.timeline import Sample, overlay

__all__ = ["Animator"]

#: Over this much motion of any landmark, in pixels of the 512 crop, the photo gives way to generated
#: pictures.
_TAKE_OVER: Final = 4.0


class Animator:
    """One target, ready to be moved.

    Args:
        generator: makes the pictures.
        images: ``[K, 512, 512, 3]`` RGB uint8, crops of one person.
        landmarks: ``[K, 478, 3]`` float32, pixels of the crops.

    Attributes:
        photo: index of the photo that the generator starts from.
        still: ``[size, size, 3]``: that photo in the generator's size, the first frame of every template.
    """

    def __init__(self, generator: Generator, images: Picture, landmarks: Landmarks) -> None:
        self._generator = generator
        self._features = generator.encode_target(images, landmarks)
        reference = np.asarray(self._features.landmarks, np.float32)
        self.photo = int(np.abs(np.asarray(landmarks) - reference).sum((1, 2)).argmin())
        size = generator.size
        still = images[self.photo]
        self.still: Picture = np.ascontiguousarray(
            still if still.shape[0] == size else cv2.resize(still, (size, size), interpolation=cv2.INTER_AREA)
        )
        neutral = neutral_face(images, landmarks, self.photo)
        self._target = RetargetTarget.of(reference, neutral)
        self._reference = reference
        self._own = _motion_of_photo(reference, neutral)
        self._rest_of_photo = reference - retarget(self._own, self._target)

    def landmarks_of(self, sample: Sample) -> Landmarks:
        """The target's landmarks with templates over the photo's own expression.

        Where nothing is covered they are the photo's. ``[478, 3]``, pixels of the crop.
        """
        shown = retarget(overlay(self._own, sample), self._target)
        return np.asarray(shown + (1.0 - sample.cover) * self._rest_of_photo, np.float32)

    def play(self, samples: Iterable[Sample]) -> Iterator[Picture]:
        """A picture for each sample; where nothing has moved, it is the photo itself."""
        for points, picture in self._pictures(map(self.landmarks_of, samples)):
            moved = float(np.abs(points - self._reference)[:, :2].max()) / _TAKE_OVER
            share = min(moved, 1.0) ** 2 * (3.0 - 2.0 * min(moved, 1.0))
            yield picture if share >= 1.0 else cv2.addWeighted(picture, share, self.still, 1.0 - share, 0.0)

    def follow(self, motions: Iterable[DriverMotion], *, intensity: float = 1.0) -> Iterator[Picture]:
        """A picture for each of a driver's motions, as in a call (Eq. 8).

        Args:
            motions: of the driver; at rest the target is shown at rest.
            intensity: lambda_exp of Eq. 7.
        """
        aimed = (retarget(motion, self._target, intensity=intensity) for motion in motions)
        return (picture for _, picture in self._pictures(aimed))

    def _pictures(self, landmarks: Iterator[Landmarks]) -> Iterator[tuple[Landmarks, Picture]]:
        while batch := list(islice(landmarks, max(self._generator.best_batch, 1))):
            pictures = self._generator.generate([self._features] * len(batch), np.stack(batch))
            yield from zip(batch, pictures, strict=True)


def _motion_of_photo(landmarks: Landmarks, neutral: Float64) -> DriverMotion:
    """The photo's own expression, as if it were a driver's: its lids and gaze are the target's own."""
    normalised, _ = normalise(landmarks)
    rest = close_lips(neutral)
    return DriverMotion(
        expression=normalised - rest,
        closure=(0.0, 0.0),
        rotation=np.eye(3),
        shift=np.zeros(3),
        scale=1.0,
        calibrating=False,
        identity=rest,
    )
