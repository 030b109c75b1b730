"""The geometric generator: landmark displacement as a flow, the photo warped by it, then lids and mouth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.generator import TARGET_CROP, Landmarks, Picture, TargetFeatures
from models.landmarks.geometry import normalise, yaw_pitch_roll
from models.mesh_maps import mesh_maps
from models.mesh_warp.eyelids import draw_eyelids, with_open_eyes
from models.mesh_warp.mouth import draw_mouth

#: Cells a side on which the flow is splatted before it is enlarged to the picture.
_FLOW_SIZE = 64
_NOTHING_ELSE = torch.zeros(478, 0)

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MeshWarpTarget:
    """A target as the mesh warp keeps it.

    Attributes:
        landmarks: ``[478, 3]`` in pixels of the 512 crop.
        photo: ``[size, size, 3]`` RGB.
        points: ``[478, 2]`` float32 in pixels of ``photo``.
    """

    landmarks: Landmarks
    photo: Picture
    points: Float32


class MeshWarpGenerator:
    """Warps the target's most frontal photo so that its landmarks come to lie where they are wanted.

    Flow comes from fine and coarse Gaussian splats (:mod:`models.mesh_maps`) and falls to zero in the
    background. Eyelids and mouth, where smooth flow cannot follow, are drawn after it.

    Args:
        size: pixels a side of the pictures, 256 or 512.
    """

    name = "mesh-warp"

    def __init__(self, size: int = 256) -> None:
        if size not in (256, 512):
            raise ValueError(f"size must be 256 or 512, not {size}")
        self.size = size
        rows = np.arange(size, dtype=np.float32)
        self._columns, self._rows = np.meshgrid(rows, rows)

    def encode_target(self, images: Picture, landmarks: Landmarks) -> MeshWarpTarget:
        """See :class:`models.generator.Generator`; of several photos the most frontal one is used."""
        turned = [np.abs(yaw_pitch_roll(normalise(face)[1].rotation)).sum() for face in landmarks]
        best = int(np.argmin(turned))
        photo = images[best]
        if photo.shape[0] != self.size:
            photo = cv2.resize(photo, (self.size, self.size), interpolation=cv2.INTER_AREA)
        reference = np.asarray(landmarks[best], np.float32)
        return MeshWarpTarget(reference, np.ascontiguousarray(photo, np.uint8), self._to_pixels(reference))

    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        """See :class:`models.generator.Generator`.

        Landmarks that are not finite show the still photo.
        """
        pictures = np.empty((len(targets), self.size, self.size, 3), np.uint8)
        shown = [self._to_pixels(np.asarray(face, np.float32)) for face in landmarks]
        usable = [bool(np.isfinite(points).all()) for points in shown]
        own = [target for target in targets if isinstance(target, MeshWarpTarget)]
        if len(own) != len(targets):
            raise TypeError("these targets were encoded by another generator")
        shown = [
            points if ok else target.points for points, ok, target in zip(shown, usable, own, strict=True)
        ]
        opened = [with_open_eyes(points, target.points) for points, target in zip(shown, own, strict=True)]
        if not own:
            return pictures
        flows = self._flows(opened, [target.points for target in own])
        for index, target in enumerate(own):
            picture = self._warp(target.photo, flows[index])
            draw_mouth(picture, shown[index], target.photo, target.points)
            draw_eyelids(picture, shown[index], opened[index])
            pictures[index] = picture
        return pictures

    def _to_pixels(self, landmarks: Landmarks) -> Float32:
        """Pixels of the 512 crop to pixels of the picture, ``[478, 2]``."""
        return np.asarray((landmarks[:, :2] + 0.5) * (self.size / TARGET_CROP) - 0.5, np.float32)

    def _flows(self, shown: Sequence[Float32], photo: Sequence[Float32]) -> Float32:
        """Flow of each picture in pixels, ``[B, 64, 64, 2]``."""
        with torch.inference_mode():
            driver, target = (
                torch.from_numpy((np.stack(points) + 0.5) / self.size) for points in (shown, photo)
            )
            maps = mesh_maps(driver, target, _NOTHING_ELSE, _FLOW_SIZE)[:, :2]
            return np.asarray((maps * (self.size / 2)).permute(0, 2, 3, 1).contiguous().numpy())

    def _warp(self, photo: Picture, flow: Float32) -> Picture:
        fine = cv2.resize(flow, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(
            cv2.remap(
                photo,
                self._columns + fine[..., 0],
                self._rows + fine[..., 1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            ),
            np.uint8,
        )
