"""Puts a driver's motion onto a target's landmarks: expression by Eq. 8, head motion relative to neutral."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.driver import DriverMotion
from models.landmarks.geometry import Float64, Pose, denormalise, normalise

#: Turns beyond these angles (degrees) are held back softly: a photo has nothing to show there.
MAX_YAW, MAX_PITCH, MAX_ROLL = 35.0, 25.0, 40.0
#: Share of the driver's shift that is followed, and where it ends, in normalised units (a face is about 3).
SHIFT_SHARE, MAX_SHIFT = 0.7, 0.5
#: Bounds of the change of size.
MIN_SCALE, MAX_SCALE = 0.85, 1.15
#: Where the lids meet between the open upper (0) and lower (1) lid.
_SEAM = 0.8

_LIDS = (
    (face.RIGHT_EYE_UPPER, face.RIGHT_EYE_LOWER),
    (face.LEFT_EYE_UPPER, face.LEFT_EYE_LOWER),
)


@dataclass(frozen=True)
class RetargetTarget:
    """A target's landmarks, taken apart once.

    Attributes:
        normalised: ``[478, 3]``: average + identity of the target (its photo is taken as neutral).
        pose: of the photo, in pixels of its crop.
    """

    normalised: Float64
    pose: Pose

    @classmethod
    def of(cls, landmarks: npt.ArrayLike) -> RetargetTarget:
        """From landmarks ``[478, 3]`` in pixels of the target crop."""
        return cls(*normalise(landmarks))


def retarget(
    motion: DriverMotion, target: RetargetTarget, *, intensity: float = 1.0
) -> npt.NDArray[np.float32]:
    """The target's landmarks with the driver's expression and head motion (Eq. 8).

    Args:
        motion: of the driver.
        target: whose face is shown.
        intensity: lambda_exp of Eq. 7: how strongly expressions are shown.

    Returns:
        float32 ``[478, 3]``, pixels of the target crop.
    """
    normalised = target.normalised + intensity * motion.expression
    for (upper, lower), closure in zip(_LIDS, motion.closure, strict=True):
        _close_eye(normalised, target.normalised, upper, lower, min(closure * intensity, 1.0))
    rotation = _limited(motion.rotation) @ target.pose.rotation
    shift = MAX_SHIFT * np.tanh(SHIFT_SHARE * motion.shift / MAX_SHIFT)
    scale = float(np.clip(motion.scale, MIN_SCALE, MAX_SCALE))
    pose = Pose(target.pose.scale * scale, rotation, target.pose.translation + target.pose.scale * shift)
    return denormalise(normalised, pose).astype(np.float32)


def _close_eye(
    normalised: Float64, neutral: Float64, upper: face.Indices, lower: face.Indices, closure: float
) -> None:
    """Set the lids by how far the driver's eye is closed, measured on the target's own open eye.

    Adding the driver's lid motion instead would leave the large eyes of a target half open when the
    small ones of its driver are shut.
    """
    above, below = neutral[upper], neutral[lower]
    seam = above + _SEAM * (below - above)
    # brows and cheeks carry the lids along: keep what the eye's corners do
    carried = (normalised[upper[[0, -1]]] - neutral[upper[[0, -1]]]).mean(0)
    normalised[upper] = above + closure * (seam - above) + carried
    normalised[lower] = below + closure * (seam - below) + carried


def _limited(rotation: Float64) -> Float64:
    """The rotation with each of its angles held back softly below its maximum."""
    pitch = np.arcsin(np.clip(rotation[2, 1], -1.0, 1.0))
    yaw = np.arctan2(-rotation[2, 0], rotation[2, 2])
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    yaw, pitch, roll = (
        limit * np.tanh(angle / limit)
        for angle, limit in zip((yaw, pitch, roll), np.radians([MAX_YAW, MAX_PITCH, MAX_ROLL]), strict=True)
    )
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return np.asarray(about_z @ about_x @ about_y)
