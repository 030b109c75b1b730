"""Where the skin lies that a landmark was on in the photo, once the face has moved: beside the landmark.

A detector's landmarks slide over the skin as a head turns and a mouth opens, alike for everybody. How far can
be told from the landmarks alone; it was learned from optical flow between frames of one person (see
:mod:`models.training.registration`), as in supervision by registration (Dong et al., CVPR 2018). Needs NumPy
only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from models.landmarks.geometry import Pose, normalise, yaw_pitch_roll

__all__ = [
    "WEIGHTS",
    "PhotoFace",
    "Registration",
    "RegistrationError",
    "RegistrationInputs",
    "shipped_registration",
]

Float32 = npt.NDArray[np.float32]

WEIGHTS: Final = Path(__file__).parents[1] / "weights" / "skin-registration.safetensors"
#: Angles are told to the network in this many degrees.
ANGLE_UNIT: Final = 20.0
#: What lies farther from the average than so many deviations, training has not seen: it counts as this far.
_FARTHEST: Final = 4.0
#: Of the inputs, those that are told by their principal components.
_PARTS: Final = ("shape", "change", "displacement")


class RegistrationError(ValueError):
    """The file of weights is missing, truncated, or of another kind."""


@dataclass(frozen=True)
class PhotoFace:
    """What is known of a photo's face before any driver is seen.

    Attributes:
        points: landmarks ``[478, 2]`` in pixels.
        shape: normalised, ``[1434]``.
        angles: yaw, pitch and roll, in units of 20 degrees.
    """

    points: Float32
    shape: Float32
    angles: Float32

    @classmethod
    def of(cls, landmarks: npt.ArrayLike) -> PhotoFace:
        """Of landmarks ``[478, 3]`` in pixels.

        Raises:
            ValueError: they are not finite, or all in one place.
        """
        points = np.asarray(landmarks, np.float64)
        shape, pose = normalise(points)
        return cls(points[:, :2].astype(np.float32), shape.astype(np.float32).ravel(), _angles(pose))


@dataclass(frozen=True)
class RegistrationInputs:
    """What a registration is made from, and the frame in which its result is to be read.

    Attributes:
        shape: the photo's normalised landmarks, ``[1434]``.
        change: from them to the shown ones, ``[1434]``.
        displacement: of each landmark in the picture, in the frame of the shown face, ``[956]``.
        angles: of photo and shown face, ``[6]``.
        frame: ``[2, 2]``: from the shown face's frame (upright, in face sizes) to pixels, as ``v @ frame``.
    """

    shape: Float32
    change: Float32
    displacement: Float32
    angles: Float32
    frame: Float32

    @classmethod
    def of(cls, photo: PhotoFace, shown: npt.ArrayLike) -> RegistrationInputs:
        """Of a photo's face and shown landmarks ``[478, 3]``, both in pixels of one size.

        Raises:
            ValueError: the landmarks are not finite, or all in one place.
        """
        points = np.asarray(shown, np.float32)
        shape, pose = normalise(points)
        angles = _angles(pose)
        roll = float(angles[2]) * np.deg2rad(ANGLE_UNIT)
        cos, sin = pose.scale * np.cos(roll), pose.scale * np.sin(roll)
        frame = np.array([[cos, sin], [-sin, cos]], np.float32)
        moved = (photo.points - points[:, :2]) @ np.linalg.inv(frame)
        return cls(
            photo.shape,
            shape.astype(np.float32).ravel() - photo.shape,
            moved.ravel(),
            np.concatenate([photo.angles, angles]),
            frame,
        )


class Registration:
    """A small network from two faces' landmarks to how far the skin lies beside the second's.

    Args:
        arrays: by name. For each of ``shape``, ``change`` and ``displacement`` a ``mean`` and a ``basis``
            (``[n, k]``, scaled so that coefficients have deviation 1); ``weight0``, ``bias0`` and so on of
            the layers, SiLU between them; ``result.mean`` ``[956]`` and ``result.basis`` ``[k, 956]``.
    """

    def __init__(self, arrays: dict[str, Float32]) -> None:
        self.arrays = arrays
        self._layers = sum(name.startswith("weight") for name in arrays)

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Registration:
        """Read a file of weights.

        Raises:
            RegistrationError: it is missing, truncated or of another kind.
        """
        try:
            with safe_open(str(path), framework="np") as file:
                arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
            made = cls(arrays)
            shape, change, displacement = (arrays[f"{name}.mean"] for name in _PARTS)
            frontal, upright = np.zeros(6, np.float32), np.eye(2, dtype=np.float32)
            # what is missing is missed here
            made._offsets(RegistrationInputs(shape, change, displacement, frontal, upright))
        except Exception as error:
            raise RegistrationError(f"{path} cannot be read as a skin registration: {error}") from None
        return made

    def shift(self, photo: PhotoFace, shown: npt.ArrayLike) -> Float32:
        """Where the photo's skin belongs, relative to the shown landmarks, ``[478, 2]`` in pixels.

        Args:
            photo: the face that moves.
            shown: landmarks ``[478, 3]`` as they are to be seen, pixels of the photo's size. Degenerate ones
                (all in one place) have no shift.
        """
        try:
            inputs = RegistrationInputs.of(photo, shown)
        except ValueError:
            return np.zeros((len(photo.points), 2), np.float32)
        return np.asarray(self._offsets(inputs).reshape(-1, 2) @ inputs.frame, np.float32)

    def placed(self, photo: PhotoFace, shown: npt.ArrayLike) -> Float32:
        """The shown landmarks ``[478, 3]`` moved to where the photo's skin belongs; see :meth:`shift`."""
        points = np.array(shown, np.float32)
        points[:, :2] += self.shift(photo, points)
        return points

    def coefficients(self, inputs: RegistrationInputs) -> Float32:
        """What the first layer is given."""
        parts = [
            (getattr(inputs, name) - self.arrays[f"{name}.mean"]) @ self.arrays[f"{name}.basis"]
            for name in _PARTS
        ]
        told = np.concatenate([*parts, inputs.angles])
        return np.asarray(np.clip(told, -_FARTHEST, _FARTHEST), np.float32)

    def _offsets(self, inputs: RegistrationInputs) -> Float32:
        x = self.coefficients(inputs)
        for layer in range(self._layers):
            x = self.arrays[f"weight{layer}"] @ x + self.arrays[f"bias{layer}"]
            if layer < self._layers - 1:
                x = x / (1.0 + np.exp(-x))
        return np.asarray(x @ self.arrays["result.basis"] + self.arrays["result.mean"], np.float32)


@cache
def shipped_registration() -> Registration:
    """The shipped one, loaded once.

    Raises:
        RegistrationError: it is missing or cannot be read.
    """
    return Registration.load()


def _angles(pose: Pose) -> Float32:
    return np.array(yaw_pitch_roll(pose.rotation), np.float32) / np.float32(ANGLE_UNIT)
