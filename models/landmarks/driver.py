"""Follows one driver: smooths the landmarks and says how head and face moved from their neutral state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.crop import face_size
from models.landmarks.geometry import Float64, Pose, normalise
from models.landmarks.smoothing import OneEuroFilter, OneEuroSettings

#: How long the neutral pose and expression are averaged after the start or a recalibration, seconds.
CALIBRATION_S = 1.0
#: Share of the open eye's height at which an eye counts as closed; FaceMesh never reports zero.
_CLOSED_SHARE = 0.35


@dataclass(frozen=True)
class DriverMotion:
    """How a driver's face differs from its own neutral state.

    Attributes:
        expression: ``[478, 3]`` float64, normalised landmarks minus the driver's identity (Eq. 2).
        closure: how far right and left eye are closed relative to the driver's own open eyes, 0..1.
        rotation: ``[3, 3]``, from the neutral head pose to the present one.
        shift: ``[3]``, motion of the head since neutral, in units of the normalised face.
        scale: size of the face relative to neutral (a driver who comes closer: > 1).
        calibrating: the neutral state is still being taken.
    """

    expression: Float64
    closure: tuple[float, float]
    rotation: Float64
    shift: Float64
    scale: float
    calibrating: bool


class DriverTracker:
    """State of one driver from frame to frame.

    The identity of the driver is the running mean of its normalised landmarks over the calibration
    (many-shot separation with one person, Eq. 10), the neutral pose likewise. Motion is usable from the
    first frame on: the mean so far stands in until the calibration is over.

    Args:
        smoothing: of the landmarks.
    """

    def __init__(self, smoothing: OneEuroSettings | None = None) -> None:
        self._filter = OneEuroFilter(smoothing)
        self.recalibrate()

    def recalibrate(self) -> None:
        """Take identity and neutral pose anew from the next frames."""
        self._count = 0
        self._began: float | None = None
        self._identity: Float64 = np.zeros((face.LANDMARK_COUNT, 3))
        self._poses: list[Pose] = []
        self._neutral: Pose | None = None
        self._open = np.zeros(2)

    def update(self, landmarks: npt.ArrayLike, time_s: float) -> DriverMotion:
        """Take one frame's landmarks.

        Args:
            landmarks: ``[478, 3]`` in pixels of the camera frame.
            time_s: when the frame was taken, seconds.

        Raises:
            ValueError: the landmarks are not finite or lie all in one place.
        """
        points = np.asarray(landmarks, np.float64)
        normalise(points)  # refuse degenerate input before it reaches the filter
        smooth = self._filter(points, time_s, scale=max(face_size(points), 1.0))
        normalised, pose = normalise(smooth)
        if self._began is None:
            self._began = time_s
        calibrating = time_s - self._began < CALIBRATION_S
        heights = eye_heights(normalised)
        if calibrating or self._neutral is None:
            self._count += 1
            self._identity += (normalised - self._identity) / self._count
            self._poses.append(pose)
            self._neutral = _mean_pose(self._poses)
            self._open = np.maximum(self._open, heights)
        # an eye that opens wider than ever seen is the better measure of "open"; forget it slowly
        self._open = np.maximum(self._open * 0.9995, heights)
        neutral = self._neutral
        share = heights / np.maximum(self._open, 1e-6)
        closure = np.clip((0.9 - share) / (0.9 - _CLOSED_SHARE), 0.0, 1.0)
        return DriverMotion(
            expression=normalised - self._identity,
            closure=(float(closure[0]), float(closure[1])),
            rotation=pose.rotation @ neutral.rotation.T,
            shift=(pose.translation - neutral.translation) / neutral.scale,
            scale=pose.scale / neutral.scale,
            calibrating=calibrating,
        )


def eye_heights(normalised: npt.NDArray[np.floating]) -> Float64:
    """Mean distance between the lids of right and left eye, ``[2]``, in the landmarks' unit."""
    lids = (
        (face.RIGHT_EYE_UPPER, face.RIGHT_EYE_LOWER),
        (face.LEFT_EYE_UPPER, face.LEFT_EYE_LOWER),
    )
    middle = slice(2, -2)
    return np.array(
        [
            np.linalg.norm(normalised[lower[middle]] - normalised[upper[middle]], axis=1).mean()
            for upper, lower in lids
        ]
    )


def _mean_pose(poses: list[Pose]) -> Pose:
    u, _, vt = np.linalg.svd(np.mean([pose.rotation for pose in poses], axis=0))
    rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return Pose(
        float(np.mean([pose.scale for pose in poses])),
        rotation,
        np.mean([pose.translation for pose in poses], axis=0),
    )
