"""Puts a driver's motion onto a target's landmarks: expression by Eq. 8, head motion relative to neutral."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.landmarks.driver import DriverMotion
from models.landmarks.features import EYES, LIP_PAIRS, close_lips, mouth_width
from models.landmarks.geometry import Float64, Pose, canonical_face, denormalise, normalise

__all__ = ["MAX_PITCH", "MAX_ROLL", "MAX_YAW", "RetargetTarget", "retarget"]

#: Turns approach these angles (degrees) softly and do not pass them: a photo has nothing to show there.
MAX_YAW, MAX_PITCH, MAX_ROLL = 35.0, 25.0, 40.0
#: Share of the driver's shift that is followed, and where it ends, in normalised units (a face is about 3).
SHIFT_SHARE, MAX_SHIFT = 0.7, 0.5
#: Bounds of the change of size.
MIN_SCALE, MAX_SCALE = 0.85, 1.15
#: Bounds of how much larger or smaller a feature's motion is shown on a target of other proportions.
_MIN_PROPORTION, _MAX_PROPORTION = 0.75, 1.2
#: Farthest that a point may move by expression, in normalised units: what is more is a detector's mistake.
_MAX_EXPRESSION = 0.9
#: Where the lids meet between the open upper (0) and lower (1) lid.
_SEAM = 0.8
#: Rows of skin around each eye that follow its lids: the crease of the upper, the first row of the lower.
_CREASE_FOLLOWS, _BAG_FOLLOWS = 0.45, 0.25
#: Gaps of closed lips are noise below the first of these shares of the mouth's width, real above the second.
_PRESSED, _PARTED = 0.012, 0.045
#: Farthest turn of the eyes, in eye widths to the side and up or down.
_MAX_GAZE = np.array([0.22, 0.12])


@dataclass(frozen=True)
class RetargetTarget:
    """A target's landmarks, taken apart once.

    Attributes:
        normalised: ``[478, 3]``: average + identity of the target.
        pose: of the photo, in pixels of its crop.
    """

    normalised: Float64
    pose: Pose

    @classmethod
    def of(cls, landmarks: npt.ArrayLike, neutral: npt.ArrayLike | None = None) -> RetargetTarget:
        """From landmarks of a photo.

        Args:
            landmarks: ``[478, 3]`` in pixels of the target crop.
            neutral: the target's own neutral face, normalised ``[478, 3]``, from one photo or several;
                without it the photo's expression, closed lips apart, counts as neutral: a smile stays.
        """
        normalised, pose = normalise(landmarks)
        return cls(normalised if neutral is None else np.asarray(neutral, np.float64), pose)

    @cached_property
    def rest(self) -> Float64:
        """``[478, 3]``: the target with its lips closed."""
        return close_lips(self.normalised)


def retarget(
    motion: DriverMotion, target: RetargetTarget, *, intensity: float = 1.0
) -> npt.NDArray[np.float32]:
    """The target's landmarks with the driver's expression and head motion (Eq. 8).

    The driver's expression is shown in the target's own proportions: motion of the mouth by the ratio of
    the two mouths' widths, of the brows by that of the brows' heights; lids by how far the driver's are
    closed of their own opening. Lips that are closed on the driver are closed on the target.

    Args:
        motion: of the driver.
        target: whose face is shown.
        intensity: lambda_exp of Eq. 7: how strongly expressions are shown.

    Returns:
        float32 ``[478, 3]``, pixels of the target crop.
    """
    expression = motion.expression * _proportions(motion.identity, target.rest)
    length = np.linalg.norm(expression, axis=1, keepdims=True)
    expression *= np.minimum(1.0, _MAX_EXPRESSION / np.maximum(length, 1e-9))
    normalised = _settle_lips(target.rest + intensity * expression, mouth_width(target.rest))
    for eye, (closure, widening) in enumerate(zip(motion.closure, motion.widening, strict=True)):
        _set_eye(normalised, target.normalised, eye, min(closure * intensity, 1.0), widening, motion.gaze)
    rotation = _limited(motion.rotation) @ target.pose.rotation
    shift = MAX_SHIFT * np.tanh(SHIFT_SHARE * motion.shift / MAX_SHIFT)
    scale = float(np.clip(motion.scale, MIN_SCALE, MAX_SCALE))
    pose = Pose(target.pose.scale * scale, rotation, target.pose.translation + target.pose.scale * shift)
    return denormalise(normalised, pose).astype(np.float32)


@cache
def _regions() -> tuple[Float64, Float64, Float64]:
    """How much each landmark, ``[478, 1]``, belongs to mouth and brows, and follows expression."""
    points = canonical_face()

    def near(group: face.Indices, width: float) -> Float64:
        squared = ((points[:, None, :2] - points[None, group, :2]) ** 2).sum(-1).min(1)
        return np.asarray(np.exp(-squared / (2 * width**2)))[:, None]

    brows = near(np.concatenate([face.SEMANTIC_GROUPS[f"{s}_eyebrow"] for s in ("right", "left")]), 0.18)
    mouth = near(face.LIPS, 0.35)
    # Bones do not move: what is measured there is the fault of the pose, and would make the target's skull
    # wobble. Skin of the lower face does.
    lower = 1.0 / (1.0 + np.exp(-(points[:, 1:2] - 0.15) / 0.08))
    moved = np.clip(np.maximum.reduce([brows, mouth, 0.25 + 0.6 * lower]), 0.0, 1.0)
    moved[face.RIGID] = np.minimum(moved[face.RIGID], 0.35)
    return mouth, brows, moved


def _proportions(driver: Float64, target: Float64) -> Float64:
    """By how much the driver's motion is scaled at each landmark, ``[478, 1]``."""
    mouth, brows, moved = _regions()

    def bounded(ratio: float) -> float:
        return float(np.clip(ratio, _MIN_PROPORTION, _MAX_PROPORTION))

    of_mouth = bounded(mouth_width(target) / max(mouth_width(driver), 1e-6))
    of_brows = bounded(_brow_height(target) / max(_brow_height(driver), 1e-6))
    scale = 1.0 + mouth * (of_mouth - 1.0)
    scale += brows * (of_brows - scale)
    return np.asarray(moved * scale)


def _brow_height(normalised: Float64) -> float:
    """How far the brows are above the corners of the eyes."""
    brows = np.concatenate([face.RIGHT_EYEBROW_UPPER, face.LEFT_EYEBROW_UPPER])
    return float(normalised[[33, 133, 263, 362], 1].mean() - normalised[brows, 1].mean())


def _settle_lips(normalised: Float64, width: float) -> Float64:
    """Lips that (nearly) touch do touch, and never cross."""
    upper, lower = normalised[LIP_PAIRS[:, 0]], normalised[LIP_PAIRS[:, 1]]
    gap = lower - upper
    share = np.clip((gap[:, 1] / width - _PRESSED) / (_PARTED - _PRESSED), 0.0, 1.0)
    kept = share * share * (3 - 2 * share)
    return close_lips(normalised, kept) if (kept < 1.0).any() else normalised


def _rows_around(eye: int) -> tuple[face.Indices, face.Indices]:
    """The first row of skin above and below each of an eye's lids, point by point."""
    crease, bag = (
        ([130, 247, 30, 29, 27, 28, 56, 190, 243], [130, 25, 110, 24, 23, 22, 26, 112, 243]),
        ([359, 467, 260, 259, 257, 258, 286, 414, 463], [359, 255, 339, 254, 253, 252, 256, 341, 463]),
    )[eye]
    return np.array(crease), np.array(bag)


def _set_eye(
    normalised: Float64, neutral: Float64, eye: int, closure: float, widening: float, gaze: Float64
) -> None:
    """Set lids and iris by how far the driver's eye is closed and turned, on the target's own open eye.

    Adding the driver's lid motion instead would leave the large eyes of a target half open when the
    small ones of its driver are shut.
    """
    upper, lower, iris = EYES[eye]
    above, below = neutral[upper], neutral[lower]
    seam = above + _SEAM * (below - above)
    # brows and cheeks carry the lids along: keep what the eye's corners do
    carried = (normalised[upper[[0, -1]]] - neutral[upper[[0, -1]]]).mean(0)
    upper_moved = (closure - 0.6 * widening) * (seam - above)
    lower_moved = (closure - 0.2 * widening) * (seam - below)
    crease, bag = _rows_around(eye)
    normalised[upper] = above + upper_moved + carried
    normalised[lower] = below + lower_moved + carried
    # the skin next to the lids is what they pull along; brows and cheeks move the rest
    normalised[crease] = (
        0.5 * (normalised[crease] + neutral[crease] + carried) + _CREASE_FOLLOWS * upper_moved
    )
    normalised[bag] = 0.5 * (normalised[bag] + neutral[bag] + carried) + _BAG_FOLLOWS * lower_moved
    along = neutral[upper[-1]] - neutral[upper[0]]
    if along[0] < 0:
        along = -along
    across = np.array([-along[1], along[0], 0.0])
    turn = _MAX_GAZE * np.tanh(gaze / _MAX_GAZE)
    rim = slice(iris, iris + 5)
    normalised[rim] = neutral[rim] + carried + turn[0] * along + turn[1] * across


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
