"""Who a face is, in the call: few-shot estimates at once, many-shot running means as frames arrive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from models.landmarks.aligned import aligned_face
from models.landmarks.geometry import Float64, normalise
from models.landmarks.transformer_numpy import load_numpy_transformers

#: The shipped weights, and the size of the aligned faces that they were trained on.
WEIGHTS: Final = Path(__file__).parents[1] / "weights" / "landmark-transformer.safetensors"
CROP_SIZE: Final = 72

__all__ = ["PRIOR_S", "DriverIdentity", "FewShot", "few_shot"]

#: Seconds of observation at which running mean and few-shot estimates count the same. On held-out people the
#: blend is nearer to the many-shot identity than either of the two from one second to ten.
PRIOR_S: Final = 2.0


class FewShot:
    """Neutral faces from single frames: average plus few-shot identity (Eq. 6).

    Args:
        weights: what ``understudy train transformer`` wrote; the shipped ones when left out.

    Raises:
        ValueError, OSError, safetensors.SafetensorError: they cannot be read.
    """

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._image, self._landmarks = load_numpy_transformers(weights)
        self.average: Float64 = self._landmarks.average.astype(np.float64).reshape(-1, 3)

    def driver(self, normalised: npt.ArrayLike) -> Float64:
        """Neutral face ``[478, 3]`` behind one frame's normalised landmarks ``[478, 3]``; from them alone.

        Made for every frame: a fifth of a millisecond, and on held-out people hardly worse than with the
        image.
        """
        landmarks = np.asarray(normalised, np.float64)
        return np.asarray(landmarks - self._landmarks.expression(landmarks))

    def target(
        self,
        images: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8],
        landmarks: Sequence[npt.NDArray[np.floating]] | npt.NDArray[np.floating],
    ) -> Float64:
        """Neutral face ``[478, 3]`` of a person from K photos: the mean over them ([0139]).

        Args:
            images: RGB uint8 ``[H, W, 3]`` each.
            landmarks: ``[478, 3]`` each, in pixels of its photo.

        Raises:
            ValueError: there are no photos, or not as many landmarks.
        """
        if not len(images) or len(images) != len(landmarks):
            raise ValueError("one or more photos are needed, each with its landmarks")
        estimates = []
        for image, points in zip(images, landmarks, strict=True):
            normalised, pose = normalise(points)
            face = aligned_face(image, pose, CROP_SIZE)
            estimates.append(normalised - self._image.expression(normalised, face))
        return np.asarray(np.mean(estimates, axis=0), np.float64)


@cache
def few_shot() -> FewShot:
    """The shipped few-shot estimator, loaded once."""
    return FewShot()


class DriverIdentity:
    """A driver's neutral face: the few-shot estimate first, the many-shot running mean later.

    After s seconds it is ``(s0 * few + s * many) / (s0 + s)``: few is the mean of the few-shot estimates of
    all frames (Eq. 6), many the mean of the frames themselves (Eq. 10), s0 is ``prior_s``. The few-shot
    estimate needs no neutral frame, but errs by as much however long one looks; the mean has to see
    a driver's expressions cancel out, and then is right.

    Args:
        estimate: of single frames.
        prior_s: s0, seconds.
    """

    def __init__(self, estimate: FewShot, *, prior_s: float = PRIOR_S) -> None:
        if prior_s <= 0:
            raise ValueError("prior_s must be positive")
        self._estimate = estimate
        self._prior_s = prior_s
        self.reset()

    def reset(self) -> None:
        """Forget the driver."""
        self._seconds = 0.0
        self._few = np.zeros_like(self._estimate.average)
        self._many = np.zeros_like(self._estimate.average)

    @property
    def seconds(self) -> float:
        """How long the driver was observed."""
        return self._seconds

    def update(self, normalised: npt.ArrayLike, step_s: float) -> Float64:
        """Take in a frame that stands for ``step_s`` seconds; returns the neutral face ``[478, 3]`` so far.

        Raises:
            ValueError: the step is not positive.
        """
        if not step_s > 0:
            raise ValueError("a frame stands for a positive time")
        landmarks = np.asarray(normalised, np.float64)
        self._seconds += step_s
        share = step_s / self._seconds
        self._few += share * (self._estimate.driver(landmarks) - self._few)
        self._many += share * (landmarks - self._many)
        weight = self._seconds / (self._seconds + self._prior_s)
        return self._few + weight * (self._many - self._few)
