"""The network behind the interface of every generator: photos and landmarks in, pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from models.generator import TARGET_CROP, Landmarks, Picture, TargetFeatures
from models.landmarks.raster import draw_landmarks
from models.landmarks.registration import PhotoFace, Registration, shipped_registration
from models.marionette.config import NetworkConfig
from models.marionette.runtime import Runtime
from models.mesh_maps import mesh_maps
from models.mesh_warp.eyes import with_open_eyes
from models.mesh_warp.flow import skull_points
from models.mesh_warp.generator import best_photo
from models.mesh_warp.mouth import keep_open_mouth
from models.mesh_warp.picture import FacePlates, to_picture_pixels, warp_photo

if TYPE_CHECKING:
    from models.marionette.network import MarionetteNetwork

__all__ = ["MarionetteGenerator", "MarionetteTarget"]


@dataclass(frozen=True)
class MarionetteTarget:
    """A target as the network keeps it.

    Attributes:
        landmarks: of the reference photo, ``[478, 3]`` in pixels of the 512 crop.
        photo: the reference photo, ``[size, size, 3]``.
        points: its landmarks in its pixels.
        skull: points of hair and ears that the flow carries along, ``[P, 3]`` in its pixels.
        plates: its eyes and mouth.
        face: the landmarks once more, as a registration takes them.
        code: everything else that does not depend on the driver, as the runtime keeps it.
    """

    landmarks: Landmarks
    photo: Picture
    points: npt.NDArray[np.float32]
    skull: npt.NDArray[np.float32]
    plates: FacePlates
    face: PhotoFace
    code: Any


class MarionetteGenerator:
    """Generates with :class:`MarionetteNetwork`.

    Args:
        network: a runtime that computes one; or one that torch computes here. An untrained one equals the
            mesh warp.
        size: pixels a side of the pictures; 512 aligns a 512 photo with the flow of the 256 network.
        device: of torch, where a network is given.
    """

    def __init__(
        self,
        network: MarionetteNetwork | Runtime,
        size: int = 256,
        *,
        device: str = "cpu",
    ) -> None:
        if size not in (256, 512):
            raise ValueError(f"size must be 256 or 512, not {size}")
        self._runtime = _runtime_of(network, device)
        self._inner = self._runtime.config.size
        self._registration = registration_of(self._runtime.config)
        self.size = size
        self.name = f"marionette ({self._runtime.name})"
        self.best_batch = self._runtime.best_batch

    def encode_target(self, images: Picture, landmarks: Landmarks) -> MarionetteTarget:
        """See :class:`models.generator.Generator`; the mesh warp's photo is the reference."""
        return encode_photos(self._runtime, images, landmarks, self.size)

    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        """See :class:`models.generator.Generator`. Landmarks that are not finite show the target at rest."""
        own = [target for target in targets if isinstance(target, MarionetteTarget)]
        if len(own) != len(targets):
            raise TypeError("these targets were encoded by another generator")
        if not own:
            return np.empty((0, self.size, self.size, 3), np.uint8)
        faces = [
            placed(face, target.landmarks, target.face, self._registration)
            for face, target in zip(landmarks, own, strict=True)
        ]
        shown = [to_picture_pixels(face, self.size) for face in faces]
        opened = [with_open_eyes(points, target.points) for target, points in zip(own, shown, strict=True)]
        maps = np.stack(
            [
                mesh_maps(target.points, points, self.size, open_, target.skull)
                for target, points, open_ in zip(own, shown, opened, strict=True)
            ]
        )
        rasters = np.stack([_raster(face, self._inner // 2) for face in faces])
        aligned, corrections = self._runtime.align([target.code for target in own], rasters, maps)
        drawn = [
            _drawn(target, points, open_, mesh[:2].transpose(1, 2, 0), learned)
            for target, points, open_, mesh, learned in zip(
                own, shown, opened, maps, corrections, strict=True
            )
        ]
        pictures = self._runtime.synthesise(aligned, np.stack(drawn))
        for picture, before, points in zip(pictures, drawn, shown, strict=True):
            keep_open_mouth(picture, before, points)
        return pictures


def encode_photos(runtime: Runtime, images: Picture, landmarks: Landmarks, size: int) -> MarionetteTarget:
    """A target by a runtime; see :meth:`MarionetteGenerator.encode_target`."""
    inner = runtime.config.size
    best = best_photo(landmarks)
    order = [best, *(index for index in range(len(landmarks)) if index != best)]
    points = [to_picture_pixels(landmarks[index], inner) for index in order]
    code = runtime.encode(
        np.stack([_resized(images[index], inner) for index in order]),
        np.stack([_raster(landmarks[index], inner) for index in order]),
        np.stack([mesh_maps(photo, points[0], inner) for photo in points]),
    )
    reference = np.asarray(landmarks[best], np.float32)
    photo = _resized(images[best], size)
    at = to_picture_pixels(reference, size)
    return MarionetteTarget(
        reference, photo, at, skull_points(at), FacePlates.of(photo, at), PhotoFace.of(reference), code
    )


def registration_of(config: NetworkConfig) -> Registration | None:
    """What moves landmarks to where skin lies for such a network; None where it is told the landmarks.

    Raises:
        models.landmarks.registration.RegistrationError: its file is missing or cannot be read.
    """
    return shipped_registration() if config.registered else None


def placed(shown: Landmarks, still: Landmarks, photo: PhotoFace, by: Registration | None) -> Landmarks:
    """Landmarks as the network is told them, ``[478, 3]`` in pixels of the 512 crop.

    Args:
        shown: as they are to be seen.
        still: the target's own, shown in place of landmarks that are not finite.
        photo: of the target.
        by: what :func:`registration_of` gave.
    """
    if not np.isfinite(shown).all():
        return still
    return shown if by is None else by.placed(photo, shown)


def _runtime_of(network: MarionetteNetwork | Runtime, device: str) -> Runtime:
    if not hasattr(network, "state_dict"):
        return network
    from models.marionette.torch_runtime import TorchRuntime  # torch loads slowly, and not all need it

    return TorchRuntime(cast("MarionetteNetwork", network), device=device)


def _resized(image: Picture, size: int) -> Picture:
    if image.shape[0] != size:
        image = np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(image, np.uint8)


def _raster(landmarks: Landmarks, size: int) -> Picture:
    return draw_landmarks((landmarks[:, :2] + 0.5) / TARGET_CROP, size)


def _drawn(
    target: MarionetteTarget,
    shown: npt.NDArray[np.float32],
    opened: npt.NDArray[np.float32],
    mesh_flow: npt.NDArray[np.float32],
    correction: npt.NDArray[np.float32],
) -> Picture:
    """The photo warped by both flows (``[h, w, 2]``, ``grid_sample`` units), eyes and mouth drawn over it."""
    if mesh_flow.shape != correction.shape:
        size = len(target.photo)
        mesh_flow, correction = (
            cv2.resize(flow, (size, size), interpolation=cv2.INTER_LINEAR) for flow in (mesh_flow, correction)
        )
    picture = warp_photo(target.photo, 0.5 * (mesh_flow + correction))
    target.plates.draw(picture, shown, opened)
    return picture
