"""MobileFaceNet with the loss of ArcFace: of the networks that measure CSIM the nearest to the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from skimage.transform import SimilarityTransform

from models.evaluation.identity_network import IdentityNetwork
from models.registry_files import Unavailable, fetch_npm_members

__all__ = ["ArcFaceNetwork", "aligned_face"]

PACKAGE: Final = "capacitor-face-recognition@0.1.4"  # MIT
MEMBER: Final = "assets/mobilefacenet.tflite"
_SIDE: Final = 112
#: Where ArcFace's training faces have the picture's left and right eye, the tip of the nose and the corners
#: of the mouth, in a picture of 112 pixels a side.
_TEMPLATE: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
#: The same points of MediaPipe's mesh: pupils, tip of the nose, corners of the mouth.
_POINTS: Final = (468, 473, 1, 61, 291)


class ArcFaceNetwork(IdentityNetwork):
    """192 numbers a face: Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face
    Verification on Mobile Devices", 2018, trained with the loss of ArcFace (Deng et al., 2019).

    MarioNETte's CSIM is measured with a network of that loss. No training loss here knows this one.

    Args:
        cache: where the network is kept; fetched on first use (5 MB).

    Raises:
        Unavailable: OpenVINO is not installed, or npm is missing or cannot fetch the network.
    """

    def __init__(self, cache: Path) -> None:
        try:
            from models.marionette.silent_openvino import core  # reads TensorFlow Lite; of an extra
        except ModuleNotFoundError:
            raise Unavailable("this network needs OpenVINO: pip install 'understudy[openvino]'") from None
        path = fetch_npm_members(PACKAGE, (MEMBER,), cache)[0]
        config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        self._network = core.compile_model(path, "CPU", config)

    def _embedding(
        self, picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        face = (aligned_face(picture, landmarks).astype(np.float32) - 127.5) / 128.0
        return np.asarray(self._network(face[None])[0][0], np.float64)


def aligned_face(
    picture: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]
) -> npt.NDArray[np.uint8]:
    """The face ``[112, 112, 3]`` moved, turned and scaled to where ArcFace's training faces are.

    Args:
        picture: ``[H, W, 3]`` RGB.
        landmarks: ``[478, >=2]`` in its pixels.
    """
    points = np.asarray(landmarks[list(_POINTS), :2], np.float32)
    transform = np.asarray(SimilarityTransform.from_estimate(points, _TEMPLATE).params[:2], np.float64)
    return np.asarray(
        cv2.warpAffine(
            picture, transform, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )
