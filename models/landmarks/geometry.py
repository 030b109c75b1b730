"""Takes scale, translation and rotation out of landmarks, and puts them back ([0126], [0140])."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.landmarks.topology import RIGID, canonical_face

Float64 = npt.NDArray[np.float64]

__all__ = ["Pose", "canonical_face", "check", "denormalise", "normalise", "similarity", "yaw_pitch_roll"]


@dataclass(frozen=True)
class Pose:
    """Where a head is: ``landmarks = scale * normalised @ rotation.T + translation``.

    Attributes:
        scale: pixels (or whatever the landmarks' unit is) per unit of the canonical face.
        rotation: ``[3, 3]``, proper.
        translation: ``[3]``, of the canonical face's centre.
    """

    scale: float
    rotation: Float64
    translation: Float64


def similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> Pose:
    """The similarity that takes ``source`` nearest to ``target``, in least squares (Umeyama, 1991).

    Args:
        source, target: ``[N, 3]``, corresponding points.

    Raises:
        ValueError: the points are not finite, or all in one place.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, a, spread = _centred(source)
    target_mean, b, _ = _centred(target)
    u, singular, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum()) / spread
    return Pose(scale, rotation, target_mean - scale * source_mean @ rotation.T)


def check(landmarks: npt.ArrayLike) -> None:
    """Refuse landmarks ``[478, 3]`` that have no pose.

    Raises:
        ValueError: they are not finite, or all in one place.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if not np.isfinite(landmarks).all():
        raise ValueError("landmarks must be finite")
    _centred(landmarks[RIGID])


def _centred(points: Float64) -> tuple[Float64, Float64, float]:
    """Mean of points, the points relative to it, and the sum of their squares."""
    mean = points.mean(0)
    relative = points - mean
    spread = float(np.vdot(relative, relative))
    if not np.isfinite(spread):
        raise ValueError("landmarks must be finite")
    if spread < 1e-12:
        raise ValueError("landmarks lie all in one place")
    return mean, relative, spread


def normalise(landmarks: npt.ArrayLike) -> tuple[Float64, Pose]:
    """Landmarks without scale, translation and rotation.

    The pose is measured on points that hardly move with expression (``topology.RIGID``), so that an
    opening mouth neither shrinks nor lifts the rest of the face. Mean and scale are those of the
    canonical face: zero and one for a face of average shape.

    Args:
        landmarks: ``[478, 3]``.

    Returns:
        Normalised landmarks ``[478, 3]`` float64 and the pose that was taken out;
        :func:`denormalise` is the exact inverse.

    Raises:
        ValueError: the landmarks are not finite, or all in one place.
    """
    landmarks = np.asarray(landmarks, np.float64)
    pose = similarity(canonical_face()[RIGID], landmarks[RIGID])
    return (landmarks - pose.translation) @ pose.rotation / pose.scale, pose


def denormalise(normalised: npt.ArrayLike, pose: Pose) -> Float64:
    """Put a pose on normalised landmarks ``[N, 3]``; the inverse of :func:`normalise`."""
    return pose.scale * np.asarray(normalised, np.float64) @ pose.rotation.T + pose.translation


def yaw_pitch_roll(rotation: Float64) -> tuple[float, float, float]:
    """Angles of a head's rotation in degrees: turn to the picture's right, nod down, tilt clockwise.

    Rotation is ``Rz(roll) @ Rx(pitch) @ Ry(yaw)`` in image coordinates (x right, y down, z away).
    """
    pitch = np.arcsin(np.clip(rotation[2, 1], -1.0, 1.0))
    yaw = np.arctan2(-rotation[2, 0], rotation[2, 2])
    roll = np.arctan2(-rotation[0, 1], rotation[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))
