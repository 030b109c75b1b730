"""The geometric generator: landmark displacement as a flow, the photo warped by it, then lids and mouth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.generator import Landmarks, Picture, TargetFeatures
from models.landmarks.features import eye_heights, lip_gap
from models.landmarks.geometry import normalise, yaw_pitch_roll
from models.mesh_warp.eyes import with_open_eyes
from models.mesh_warp.flow import face_flow, skull_points
from models.mesh_warp.picture import FacePlates, to_picture_pixels, warp_photo

__all__ = ["MeshWarpGenerator", "MeshWarpTarget"]

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MeshWarpTarget:
    """A target as the mesh warp keeps it.

    Attributes:
        landmarks: ``[478, 3]`` in pixels of the 512 crop.
        photo: ``[size, size, 3]`` RGB.
        points: ``[478, 3]`` float32 in pixels of ``photo``.
        skull: ``[P, 3]``, points of hair and ears that the flow carries along, pixels of ``photo``.
        plates: eyes and mouth, taken apart from the photo.
    """

    landmarks: Landmarks
    photo: Picture
    points: Float32
    skull: Float32
    plates: FacePlates


def best_photo(landmarks: Landmarks) -> int:
    """Which of a target's photos shows most of it: frontal, eyes open, mouth closed.

    Args:
        landmarks: ``[K, 478, 3]``.
    """
    faces = [normalise(points) for points in landmarks]
    turned = np.array([np.abs(yaw_pitch_roll(pose.rotation)).sum() for _, pose in faces])
    eyes = np.array([eye_heights(points).mean() for points, _ in faces])
    gaps = np.array([lip_gap(points) for points, _ in faces])
    # an open mouth is worth 10 degrees of turn, half closed eyes 20
    return int(
        np.argmin(turned + 40.0 * (1.0 - eyes / max(eyes.max(), 1e-6)) + 10.0 * np.minimum(gaps / 0.2, 1.0))
    )


class MeshWarpGenerator:
    """Warps the target's best photo so that its landmarks come to lie where they are wanted.

    Flow comes from Gaussian splats of several widths (:mod:`models.mesh_warp.flow`) and falls to zero in
    the background. Eyelids, irises and mouth, where smooth flow cannot follow, are drawn after it. Of
    several photos of a target the best one is used throughout (:func:`best_photo`): changing between
    photos with the pose would flicker in light and hair, which shows more than a coarser warp does.

    Everything runs on the calling thread: callers serve many drivers on few cores, and set
    ``cv2.setNumThreads(1)``.

    Args:
        size: pixels a side of the pictures, 256 or 512.
    """

    name = "mesh-warp"
    best_batch = 1  # each picture is warped by itself

    def __init__(self, size: int = 256) -> None:
        if size not in (256, 512):
            raise ValueError(f"size must be 256 or 512, not {size}")
        self.size = size

    def encode_target(self, images: Picture, landmarks: Landmarks) -> MeshWarpTarget:
        """See :class:`models.generator.Generator`; of several photos :func:`best_photo` is used."""
        best = best_photo(landmarks)
        photo = images[best]
        if photo.shape[0] != self.size:
            photo = cv2.resize(photo, (self.size, self.size), interpolation=cv2.INTER_AREA)
        photo = np.ascontiguousarray(photo, np.uint8)
        reference = np.asarray(landmarks[best], np.float32)
        points = to_picture_pixels(reference, self.size)
        return MeshWarpTarget(
            reference,
            photo,
            points,
            skull_points(points),
            FacePlates.of(photo, points),
        )

    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        """See :class:`models.generator.Generator`.

        Landmarks that are not finite show the still photo. Pictures of a batch are made one by one: they
        share no work, and on one core nothing is gained by stacking them.
        """
        pictures = np.empty((len(targets), self.size, self.size, 3), np.uint8)
        for index, (target, points) in enumerate(zip(targets, landmarks, strict=True)):
            if not isinstance(target, MeshWarpTarget):
                raise TypeError("this target was encoded by another generator")
            shown = to_picture_pixels(points, self.size)
            if not np.isfinite(shown).all():
                shown = target.points
            pictures[index] = self._picture(target, shown)
        return pictures

    def _picture(self, target: MeshWarpTarget, shown: Float32) -> Picture:
        opened = with_open_eyes(shown, target.points)
        flow = face_flow(target.points, opened, self.size, target.skull)
        picture = warp_photo(target.photo, flow)
        target.plates.draw(picture, shown, opened)
        return picture
