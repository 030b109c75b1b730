"""Measures one generated picture: against the true frame, its landmarks, action units and identity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional as F

from models.landmarks import topology as face
from models.landmarks.crop import face_size
from models.landmarks.geometry import normalise, yaw_pitch_roll
from models.training.losses import to_picture_tensor
from models.training.perceptual import PerceptualTrunk, fetch_trunk, perceptual_distance

__all__ = [
    "METRICS", "Metric", "PerceptualMetric", "flicker", "jitter", "picture_metrics", "pose_error", "regions"
]  # fmt: skip

Picture = npt.NDArray[np.uint8]
Landmarks = npt.NDArray[np.floating]
Mask = npt.NDArray[np.float32]

#: PSNR of pictures that are equal.
_MOST_PSNR: Final = 60.0
#: The mouth region is the hull of the lips, so many times as large.
_MOUTH: Final = 1.4


@dataclass(frozen=True)
class Metric:
    """How a figure is called and read.

    Attributes:
        label: for tables.
        better: which way is better.
        digits: after the point.
        finish: applied to the mean over people.
    """

    label: str
    better: str
    digits: int = 3
    finish: Callable[[float], float] = float


#: All figures, in the order of tables. Pictures' values are -1..1, so that L1 is at most 2.
METRICS: Final = MappingProxyType(
    {
        "l1": Metric("L1", "lower", 4),
        "l1_face": Metric("L1 face", "lower", 4),
        "l1_mouth": Metric("L1 mouth", "lower", 4),
        "perceptual": Metric("perceptual", "lower"),
        "perceptual_face": Metric("perceptual face", "lower"),
        "perceptual_mouth": Metric("perceptual mouth", "lower"),
        "ssim": Metric("SSIM", "higher"),
        "ssim_face": Metric("SSIM face", "higher"),
        "ssim_mouth": Metric("SSIM mouth", "higher"),
        "psnr": Metric("PSNR dB", "higher", 2),
        "psnr_face": Metric("PSNR face", "higher", 2),
        "psnr_mouth": Metric("PSNR mouth", "higher", 2),
        "csim": Metric("CSIM", "higher"),
        "csim_driver": Metric("CSIM driver", "lower"),
        "csim_arcface": Metric("CSIM ArcFace", "higher"),
        "csim_arcface_driver": Metric("CSIM ArcFace driver", "lower"),
        "csim_faceres": Metric("CSIM FaceRes", "higher"),
        "csim_faceres_driver": Metric("CSIM FaceRes driver", "lower"),
        "pose_squared": Metric("PRMSE deg", "lower", 2, lambda mean: float(np.sqrt(mean))),
        "aucon": Metric("AUCON", "higher"),
        "lost": Metric("no face found", "lower"),
        "jitter": Metric("jitter %", "lower"),
        "flicker": Metric("flicker", "lower", 4),
    }
)


def regions(landmarks: Landmarks, size: int) -> dict[str, Mask]:
    """Masks ``[size, size]`` of 0 and 1: ``""`` (everywhere), ``_face`` (hull of the landmarks), ``_mouth``.

    Args:
        landmarks: ``[478, >=2]`` of the true frame, in pixels of a picture of ``size`` pixels a side.
    """
    lips = landmarks[face.LIP_OUTER, :2]
    masks = {"": np.ones((size, size), np.float32)}
    around = lips.mean(0) + _MOUTH * (lips - lips.mean(0))
    for name, points in (("_face", landmarks[:, :2]), ("_mouth", around)):
        mask = np.zeros((size, size), np.float32)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points).astype(np.int32)), 1.0)
        masks[name] = mask
    return masks


def picture_metrics(picture: Picture, truth: Picture, masks: dict[str, Mask]) -> dict[str, float]:
    """L1, SSIM (7x7 windows, as scikit-image's default) and PSNR of ``[H, W, 3]`` pictures in each region."""
    difference = picture.astype(np.float32) - truth.astype(np.float32)
    _, similar = structural_similarity(truth, picture, channel_axis=2, full=True)
    figures = {}
    for name, mask in masks.items():
        area = max(float(mask.sum()), 1.0)
        figures[f"l1{name}"] = float((np.abs(difference).mean(2) * mask).sum() / area) / 127.5
        figures[f"ssim{name}"] = float((similar.mean(2) * mask).sum() / area)
        squared = float((np.square(difference).mean(2) * mask).sum() / area)
        figures[f"psnr{name}"] = min(10 * float(np.log10(255.0**2 / max(squared, 1e-9))), _MOST_PSNR)
    return figures


class PerceptualMetric:
    """Perceptual distance at half size, in each region; see :mod:`models.training.perceptual`.

    Note that training uses the same trunk (at full size): SSIM, CSIM and a look at the pictures are there
    to say whether a better figure is a better picture.

    Args:
        cache: where the trunk is kept; fetched on first use.

    Raises:
        Unavailable, ModuleNotFoundError: it cannot be had; h5py is not installed.
    """

    def __init__(self, cache: Path) -> None:
        self._trunk = PerceptualTrunk(fetch_trunk(cache)).eval()

    @torch.inference_mode()
    def __call__(
        self, pictures: Sequence[Picture], truth: Picture, masks: dict[str, Mask]
    ) -> list[dict[str, float]]:
        """Distances of several pictures ``[H, W, 3]`` to the true one, by region."""
        features = self._trunk(self._halved(np.stack([truth, *pictures])))
        count = len(pictures)
        reference = [layer[:1].expand(count, -1, -1, -1) for layer in features]
        figures: list[dict[str, float]] = [{} for _ in pictures]
        for name, mask in masks.items():
            weight = F.avg_pool2d(torch.from_numpy(mask)[None, None], 2).expand(count, -1, -1, -1)
            distances = perceptual_distance([layer[1:] for layer in features], reference, weight)
            for figure, distance in zip(figures, distances.tolist(), strict=True):
                figure[f"perceptual{name}"] = distance
        return figures

    @staticmethod
    def _halved(pictures: npt.NDArray[np.uint8]) -> Tensor:
        return F.avg_pool2d(to_picture_tensor(pictures), 2)


def pose_error(shown: Landmarks, wanted: Landmarks) -> float:
    """Mean of the squared differences of yaw, pitch and roll, degrees squared; PRMSE is its root.

    Angles are those of the Procrustes pose of ``[478, 3]`` landmarks.
    """
    angles = [np.array(yaw_pitch_roll(normalise(points)[1].rotation)) for points in (shown, wanted)]
    return float(np.square(angles[0] - angles[1]).mean())


def jitter(shown: Sequence[Landmarks], truth: Sequence[Landmarks]) -> float:
    """Motion from frame to frame that nobody asked for, per cent of the face's size.

    With the error e of each frame's landmarks (found in the generated frame, minus found in the true one,
    ``[478, 3]`` each, x and y counted), the root mean square of ``e[t] - e[t - 1]``: an error that stays is
    none of its business.
    """
    errors = np.stack([(a - b)[:, :2] for a, b in zip(shown, truth, strict=True)])
    size = float(np.mean([face_size(points) for points in truth]))
    return 100 * float(np.sqrt(np.square(np.diff(errors, axis=0)).sum(2).mean())) / size


def flicker(shown: Sequence[Picture], truth: Sequence[Picture]) -> float:
    """Mean L1 between what changes from frame to frame in generated and in true video, in -1..1 units."""
    changes = [np.diff(np.stack(video).astype(np.float32), axis=0) for video in (shown, truth)]
    return float(np.abs(changes[0] - changes[1]).mean()) / 127.5
