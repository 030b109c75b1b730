"""An opinion on CSIM: HSE-FaceRes, a MobileNet that learned to tell the people of VGGFace2 apart."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.evaluation.identity_network import IdentityNetwork
from models.evaluation.tensorflow_graph import GraphModel
from models.registry_files import fetch_npm_members

__all__ = ["FaceResNetwork", "face_crop"]

PACKAGE: Final = "@vladmandic/human@3.3.6"  # MIT
MEMBERS: Final = ("models/faceres.json", "models/faceres.bin")
_EMBEDDING: Final = "global_pooling/Mean"
#: Pixels a side of a crop. At 224, which the network was trained at, it told the people of 163 clips apart a
#: little less well (area under the curve 0.994, here 0.998; dlib's 1.000).
_SIDE: Final = 128
#: Side of the crop in longer sides of the landmarks' bounding box.
_MARGIN: Final = 1.2
_MEAN_BGR: Final = (103.939, 116.779, 123.68)


class FaceResNetwork(IdentityNetwork):
    """1,024 numbers a face: Savchenko, "Efficient facial representations for age, gender and identity
    recognition in organizing photo albums using multi-output ConvNet", PeerJ Computer Science, 2019.

    Args:
        cache: where graph and weights are kept; fetched on first use (29 MB, of which 7 MB are kept).

    Raises:
        Unavailable: npm is missing or cannot fetch them.
        ValueError: the files cannot be used.
    """

    def __init__(self, cache: Path) -> None:
        self._model = GraphModel(fetch_npm_members(PACKAGE, MEMBERS, cache)[0], _EMBEDDING)

    @torch.inference_mode()
    def _embedding(
        self, picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        face = face_crop(picture, landmarks, _SIDE)[..., ::-1] - np.array(_MEAN_BGR, np.float32)
        return np.asarray(self._model(torch.from_numpy(face).movedim(-1, 0)[None])[0].numpy(), np.float64)


def face_crop(
    picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating], side: int
) -> npt.NDArray[np.uint8]:
    """A square around a face with a margin, ``[side, side, 3]``; edges are continued outside the picture.

    Args:
        picture: ``[H, W, 3]``.
        landmarks: ``[N, >=2]`` in its pixels.
    """
    low, high = landmarks[:, :2].min(0), landmarks[:, :2].max(0)
    scale = side / (_MARGIN * float((high - low).max()))
    shift = (side - 1) / 2 - scale * (low + high) / 2
    transform = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return np.asarray(
        cv2.warpAffine(
            picture, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )
