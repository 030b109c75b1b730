"""A scripted performance: head turns, speech-like mouth openings and blinks of a still face, as landmarks.

What the clip shows is known at every instant, so that what a call makes of it can be checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

#: The performance repeats after this long (seconds): a clip of this length loops without a seam.
PERIOD_S: Final = 8.0
#: The mouth opens and closes once in this time (seconds): closed in the first half, open in the second.
MOUTH_PERIOD_S: Final = 2.0

_YAW_RAD: Final = np.radians(11.0)
_PITCH_RAD: Final = np.radians(4.0)
_BLINKS_S: Final = (0.6, 4.6)
_BLINK_S: Final = 0.32

# MediaPipe FaceMesh indices.
_INNER_LOWER_LIP: Final = np.array([95, 88, 178, 87, 14, 317, 402, 318, 324])
_INNER_UPPER_LIP: Final = np.array([191, 80, 81, 82, 13, 312, 311, 310, 415])
_UPPER_LIP: Final = np.array(
    [*_INNER_UPPER_LIP, 185, 40, 39, 37, 0, 267, 269, 270, 409, 74, 73, 72, 11, 302, 303, 304, 184, 408]
)
_CORNERS: Final = np.array([61, 291, 78, 308])
_CHIN: Final = 152
_FOREHEAD: Final = 10
_SUBNASALE: Final = 2
_EYES: Final = (
    (np.array([246, 161, 160, 159, 158, 157, 173]), np.array([7, 163, 144, 145, 153, 154, 155])),
    (np.array([466, 388, 387, 386, 385, 384, 398]), np.array([249, 390, 373, 374, 380, 381, 382])),
)


@dataclass(frozen=True)
class Motion:
    """What the face does at one instant.

    Attributes:
        yaw, pitch: of the head, radians, relative to the still.
        mouth: 0 as in the still .. 1 wide open.
        blink: 0 as in the still .. 1 eyes shut.
    """

    yaw: float
    pitch: float
    mouth: float
    blink: float


def motion_at(time_s: float) -> Motion:
    """The performance at a time; any time, as it repeats."""
    time_s %= PERIOD_S
    turn = 2 * np.pi * time_s / PERIOD_S
    phase = time_s % MOUTH_PERIOD_S / MOUTH_PERIOD_S
    mouth = float(np.sin(2 * np.pi * (phase - 0.5)) ** 0.5) if phase > 0.5 else 0.0
    blink = max(max(0.0, 1 - abs(time_s - at) / (_BLINK_S / 2)) for at in _BLINKS_S)
    return Motion(
        yaw=float(_YAW_RAD * np.sin(turn)),
        pitch=float(_PITCH_RAD * np.sin(2 * turn)),
        mouth=mouth,
        blink=min(1.0, 1.6 * blink),
    )


def perform(landmarks: np.ndarray, motion: Motion) -> np.ndarray:
    """Move a still face's landmarks.

    Args:
        landmarks: [478, 3] pixels, z away from the viewer.
        motion: what to do.

    Returns:
        float32 [478, 3], in the same pixels.
    """
    moved = np.asarray(landmarks, np.float64).copy()
    height = float(moved[_CHIN, 1] - moved[_FOREHEAD, 1])
    _open_mouth(moved, 0.14 * height * motion.mouth)
    for upper, lower in _EYES:
        moved[upper, 1] += motion.blink * (moved[lower, 1] - moved[upper, 1])
    return _turn(moved, motion, height).astype(np.float32)


def _open_mouth(moved: np.ndarray, drop: float) -> None:
    """Lower the jaw by ``drop`` pixels: lower lip and chin go down whole, cheeks less, the upper lip not."""
    seam = moved[_INNER_LOWER_LIP, 1].mean()
    nose, chin = moved[_SUBNASALE, 1], moved[_CHIN, 1]
    x, y = moved[:, 0], moved[:, 1]
    left, right = sorted(moved[_CORNERS[:2], 0])
    # In the mouth's width everything under the seam falls; beside it the fall begins softly at the nose.
    inside = np.clip((np.minimum(x - left, right - x)) / (0.12 * (right - left)), 0, 1)
    under = np.where(inside > 0, np.clip((y - seam) / (0.05 * (chin - nose)) + 1, 0, 1), 0)
    beside = 0.8 * np.clip((y - nose) / (chin - nose), 0, 1)
    weight = inside * under + (1 - inside) * beside
    weight[_INNER_LOWER_LIP] = 1
    weight[_UPPER_LIP] = 0
    weight[_CORNERS] = 0.35
    moved[:, 1] += drop * weight


def _turn(moved: np.ndarray, motion: Motion, height: float) -> np.ndarray:
    """Rotate about a point in the middle of the head."""
    pivot = moved.mean(axis=0) + np.array([0, 0, 0.35 * height])
    cos, sin = np.cos(motion.yaw), np.sin(motion.yaw)
    yaw = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    cos, sin = np.cos(motion.pitch), np.sin(motion.pitch)
    pitch = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.asarray((moved - pivot) @ (yaw @ pitch).T + pivot)
