"""Follows one driver: smooths the landmarks and says how head and face moved from their neutral state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.crop import face_size
from models.landmarks.features import (
    close_lips,
    eye_heights,
    eye_widths,
    gaze,
    lip_gap,
)
from models.landmarks.geometry import Float64, Pose, canonical_face, check, normalise
from models.landmarks.smoothing import OneEuroFilter, OneEuroSettings

__all__ = ["CALIBRATION_S", "DriverMotion", "DriverTracker", "eye_heights"]

#: How long the neutral pose and expression are averaged after the start or a recalibration, seconds.
CALIBRATION_S = 1.0
#: Afterwards the identity goes on as a running mean over about this much calm time, seconds.
IDENTITY_MEMORY_S = 30.0
#: The neutral position and distance follow a driver who settles elsewhere, with this time constant, seconds.
SETTLE_S = 20.0
#: How many seconds of observation a given first estimate of the identity is worth.
PRIOR_S = 0.5
#: What few-shot estimates of the identity are worth, all together, in seconds of observation; and for how
#: long they are taken: afterwards observation is better by far.
FEW_SHOT_S, FEW_SHOT_UNTIL_S = 2.0, 10.0
#: Height of an eye, as a share of the driver's own open eye, at which it counts as closed (FaceMesh never
#: reports zero: blinks of the training people end at 0.15 to 0.3) and as open.
_CLOSED_SHARE, _OPEN_SHARE = 0.32, 0.96
_EASE = 1.15
#: An eye is never taken for wide open below this height in eye widths: somebody may begin with closed eyes.
_LEAST_OPEN = 0.16
#: Longest time that one frame may count for, seconds: after a gap the next frame is still one frame.
_LONGEST_STEP = 0.1

_CALM_POINTS = np.concatenate(
    [face.LIPS, *(face.SEMANTIC_GROUPS[f"{side}_eyebrow"] for side in ("right", "left"))]
)


@dataclass(frozen=True)
class DriverMotion:
    """How a driver's face differs from its own neutral state.

    Attributes:
        expression: ``[478, 3]`` float64, normalised landmarks minus the driver's identity (Eq. 2, 11). The
            identity's lips are closed: opening the mouth is expression even if it was never seen shut.
        closure: how far right and left eye are closed relative to the driver's own open eyes, 0..1.
        rotation: ``[3, 3]``, from the neutral head pose to the present one.
        shift: ``[3]``, motion of the head since neutral, in units of the normalised face.
        scale: size of the face relative to neutral (a driver who comes closer: > 1).
        calibrating: the neutral state is still being taken.
        widening: how far right and left eye are open beyond their usual, 0 for not at all, 0.3 for 30 %.
        gaze: ``[2]``, turn of the eyes since neutral, right and down, in eye widths.
        identity: ``[478, 3]``, the driver's own neutral face, for proportions; the average face at first.
    """

    expression: Float64
    closure: tuple[float, float]
    rotation: Float64
    shift: Float64
    scale: float
    calibrating: bool
    widening: tuple[float, float] = (0.0, 0.0)
    gaze: Float64 = field(default_factory=lambda: np.zeros(2))
    identity: Float64 = field(default_factory=canonical_face)


class DriverTracker:
    """State of one driver from frame to frame.

    The driver's identity is the running mean of its normalised landmarks (many-shot separation with one
    person, Eq. 10): of all frames during the calibration, and afterwards of calm ones, so that long
    talking or smiling does not become identity. The neutral pose is the mean pose of the calibration.
    Motion is usable from the first frame on: the mean so far stands in until the calibration is over, and
    with a few-shot estimator it is blended with the mean of its estimates, ``(s0 few + s many) / (s0 + s)``
    after s seconds with s0 = :data:`FEW_SHOT_S`: who begins with an open mouth is not taken for one who
    has it open by nature.

    Everything counts seconds, not frames; a change of frame rate changes nothing. A face that was lost
    for longer than the filter's ``reset_after`` starts the filter anew, but keeps identity and neutral.

    Args:
        smoothing: of the landmarks.
        identity: ``[478, 3]`` normalised, a first estimate of the driver's neutral face (average plus
            few-shot identity, Eq. 6). Observation takes its place as it outweighs :data:`PRIOR_S`.
        few_shot: estimates the neutral face behind one frame, normalised ``[478, 3]`` to ``[478, 3]``;
            see :meth:`models.landmarks.identity.FewShot.driver`.
    """

    def __init__(
        self,
        smoothing: OneEuroSettings | None = None,
        *,
        identity: npt.ArrayLike | None = None,
        few_shot: Callable[[Float64], Float64] | None = None,
    ) -> None:
        self._few_shot = few_shot
        self._filter = OneEuroFilter(smoothing)
        self._eyes_filter = OneEuroFilter(OneEuroSettings(min_cutoff=1.5, beta=20.0))
        self.recalibrate()
        if identity is not None:
            self.suggest_identity(identity)

    @property
    def identity(self) -> Float64 | None:
        """The driver's neutral face so far, ``[478, 3]``, its lips closed; None before any frame."""
        if self._few is None or self._identity is None:
            return self._identity
        share = self._weight / (self._weight + FEW_SHOT_S)
        return self._few + share * (self._identity - self._few)

    def suggest_identity(self, identity: npt.ArrayLike) -> None:
        """Blend in an estimate of the neutral face, as if it had been observed for :data:`PRIOR_S`."""
        self._take_identity(close_lips(np.asarray(identity, np.float64)), PRIOR_S)

    def recalibrate(self) -> None:
        """Take identity and neutral pose anew from the next frames."""
        self._began: float | None = None
        self._time = 0.0
        self._identity: Float64 | None = None
        self._weight = 0.0
        self._few: Float64 | None = None
        self._few_s = 0.0
        self._poses: list[Pose] = []
        self._neutral: Pose | None = None
        self._open_seen: list[Float64] = []
        self._open = np.zeros(2)
        self._gaze = np.zeros(2)
        self._gaze_weight = 0.0

    def update(self, landmarks: npt.ArrayLike, time_s: float) -> DriverMotion:
        """Take one frame's landmarks.

        Args:
            landmarks: ``[478, 3]`` in pixels of the camera frame.
            time_s: when the frame was taken, seconds.

        Raises:
            ValueError: the landmarks are not finite or lie all in one place; nothing is taken in.
        """
        points = np.asarray(landmarks, np.float64)
        check(points)  # refuse degenerate input before it reaches the filter
        normalised, pose = normalise(self._filter(points, time_s, scale=max(face_size(points), 1.0)))
        first = self._began is None
        began = time_s if self._began is None else self._began
        step = _LONGEST_STEP / 3 if first else min(max(time_s - self._time, 0.0), _LONGEST_STEP)
        self._began, self._time = began, time_s
        calibrating = time_s - began < CALIBRATION_S

        self._estimate(normalised, step)
        self._follow_identity(close_lips(normalised), lip_gap(normalised), step, calibrating)
        self._follow_pose(pose, step, calibrating)
        closure, widening = self._lids(normalised, step, calibrating)
        looking = self._look(normalised, closure, step, calibrating, time_s)
        identity, neutral = self.identity, self._neutral
        assert identity is not None
        assert neutral is not None
        return DriverMotion(
            expression=normalised - identity,
            closure=(float(closure[0]), float(closure[1])),
            rotation=pose.rotation @ neutral.rotation.T,
            shift=(pose.translation - neutral.translation) / neutral.scale,
            scale=pose.scale / neutral.scale,
            calibrating=calibrating,
            widening=(float(widening[0]), float(widening[1])),
            gaze=looking,
            identity=identity,
        )

    def _take_identity(self, observed: Float64, weight: float) -> None:
        self._weight = min(self._weight + weight, IDENTITY_MEMORY_S)
        if self._identity is None:
            self._identity = observed.copy()
        elif self._weight > 0:
            self._identity = self._identity + (weight / self._weight) * (observed - self._identity)

    def _estimate(self, normalised: Float64, step: float) -> None:
        """Mean of the few-shot estimates of the first frames."""
        if self._few_shot is None or self._few_s >= FEW_SHOT_UNTIL_S:
            return
        estimate = close_lips(self._few_shot(normalised))
        self._few_s += step
        if self._few is None:
            self._few = estimate
        elif self._few_s > 0:
            self._few = self._few + (step / self._few_s) * (estimate - self._few)

    def _follow_identity(self, closed: Float64, gap: float, step: float, calibrating: bool) -> None:
        """Running mean (Eq. 10) in which the more a frame departs from calm, the less it counts."""
        # an open mouth has also lowered chin and cheeks, which closing the lips does not take back
        calm = np.exp(-((gap / 0.12) ** 2))
        so_far = self.identity
        if so_far is not None and not calibrating:
            departure = np.sqrt(((closed - so_far)[_CALM_POINTS] ** 2).sum(1).mean())
            calm *= np.exp(-((departure / 0.06) ** 2))
        self._take_identity(closed, step * max(float(calm), 0.05 if calibrating else 0.0))

    def _follow_pose(self, pose: Pose, step: float, calibrating: bool) -> None:
        neutral = self._neutral
        if neutral is None or calibrating:
            self._poses.append(pose)
            self._neutral = _mean_pose(self._poses)
            return
        self._poses = []
        share = step / SETTLE_S
        self._neutral = Pose(
            neutral.scale * (pose.scale / neutral.scale) ** share,
            neutral.rotation,  # who looks aside for long means to look aside
            neutral.translation + share * (pose.translation - neutral.translation),
        )

    def _lids(self, normalised: Float64, step: float, calibrating: bool) -> tuple[Float64, Float64]:
        """Closure and widening of both eyes, measured on the driver's own open eyes."""
        heights = eye_heights(normalised)
        if calibrating or not self._open.any():
            self._open_seen.append(heights)
            # blinks pass below the upper quartile; a moment of surprise does not set it
            self._open = np.percentile(self._open_seen, 75, axis=0)
        else:
            self._open_seen = []
            # a running quantile: rises slowly while the eyes are wider than it, falls more slowly still
            seen = heights > 0.6 * self._open  # blinks say nothing about open eyes
            rate = np.where(heights > self._open, 0.05, -0.02) * seen
            self._open = self._open * (1.0 + step * rate)
        self._open = np.maximum(self._open, _LEAST_OPEN * eye_widths(normalised))
        share = heights / self._open
        # Eyes mostly move together, and noise does not: small differences are shared, a wink is kept.
        mean = share.mean()
        apart = share - mean
        difference = abs(float(share[0] - share[1]))
        kept = np.clip((difference - 0.1) / 0.3, 0.0, 1.0)
        share = mean + apart * kept
        closure = np.clip((_OPEN_SHARE - share) / (_OPEN_SHARE - _CLOSED_SHARE), 0.0, 1.0)
        # the first of the way is also eyes that relax: shown in full it makes a target look sleepy
        return closure**_EASE, np.clip(share - 1.02, 0.0, 0.35)

    def _look(
        self, normalised: Float64, closure: Float64, step: float, calibrating: bool, time_s: float
    ) -> Float64:
        """Turn of the eyes since neutral; irises behind closed lids are guesses and do not count."""
        seen = 1.0 - min(float(closure.max()) * 1.5, 1.0)
        looking = gaze(normalised)
        weight = step * seen
        if calibrating or self._gaze_weight == 0:
            self._gaze_weight += weight
            share = weight / self._gaze_weight if self._gaze_weight > 0 else 0.0
        else:
            share = weight / SETTLE_S  # people look about: neutral follows only slowly
        self._gaze = self._gaze + share * (looking - self._gaze)
        turned = (looking - self._gaze) * seen
        return self._eyes_filter(turned, time_s)


def _mean_pose(poses: list[Pose]) -> Pose:
    u, _, vt = np.linalg.svd(np.mean([pose.rotation for pose in poses], axis=0))
    rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return Pose(
        float(np.mean([pose.scale for pose in poses])),
        rotation,
        np.mean([pose.translation for pose in poses], axis=0),
    )
