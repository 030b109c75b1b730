"""The generator's training losses: L1, fine and coarse, taught flow, feature matching and hinge GAN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Float32 = npt.NDArray[np.float32]

_CELLS: Final = (4, 8, 16)


def face_weight(landmarks: Float32, size: int, inside: float) -> Float32:
    """How much each pixel counts: ``inside`` in the face's hull, 1 elsewhere, soft between.

    Args:
        landmarks: ``[N, 3]`` in pixels of a picture of ``size`` pixels a side.

    Returns:
        ``[size, size]`` float32.
    """
    hull = cv2.convexHull(np.round(landmarks[:, :2]).astype(np.int32))
    mask = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(mask, hull, 1.0)
    blurred = cv2.GaussianBlur(mask, (0, 0), size / 64)
    return (1.0 + (inside - 1.0) * blurred).astype(np.float32)


def weighted_l1(picture: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Mean of ``weight * |picture - wanted|`` over the weight's sum; weight ``[B, 1, H, W]``."""
    return ((picture - wanted).abs() * weight).mean() / weight.mean()


def coarse_l1(picture: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Mean of :func:`weighted_l1` of pictures averaged over 4x4, 8x8 and 16x16 pixels.

    Where pores and hairs are wrong anyway, L1 of single pixels hardly feels a wrong shade; averages do.
    """
    total = picture.new_zeros(())
    for cell in _CELLS:
        averaged = (F.avg_pool2d(maps, cell) for maps in (picture, wanted, weight))
        total = total + weighted_l1(*averaged)
    return total / len(_CELLS)


def taught_flow_loss(flows: Sequence[Tensor], taught: Tensor, weight: Tensor) -> Tensor:
    """L1 between each scale's flow and a taught one, where the teacher is sure.

    Args:
        flows: of every scale, ``[B, 2, h, w]``, in ``grid_sample`` units.
        taught: ``[B, 2, H, W]`` in the same units, H and W a multiple of every scale's.
        weight: ``[B, 1, H, W]`` in 0..1.
    """
    total = flows[0].new_zeros(())
    for flow in flows:
        size = (flow.shape[2], flow.shape[3])
        sure = F.adaptive_avg_pool2d(weight, size)
        total = total + ((flow - F.adaptive_avg_pool2d(taught, size)).abs() * sure).mean()
    return total / len(flows)


def feature_matching_loss(ours: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean L1 between the discriminator's features of our picture and of the real one."""
    total = ours[0].new_zeros(())
    for a, b in zip(ours, real, strict=True):
        total = total + (a - b.detach()).abs().mean()
    return total / len(ours)


def hinge_discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Hinge loss of the discriminator's scores: real above 1, generated below -1."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + generated).mean()


def hinge_generator_loss(generated: Tensor) -> Tensor:
    """Hinge loss of the generator: its pictures should score high."""
    return -generated.mean()


def teach_flow(
    driver: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8], mesh_flow: Float32
) -> tuple[Float32, Float32]:
    """The flow that optical flow (DIS, started from the mesh flow) finds between two frames of a clip.

    Args:
        driver: the frame to be made, ``[H, W, 3]`` RGB.
        target: the frame it is made from, ``[H, W, 3]`` RGB.
        mesh_flow: ``[2, h, w]`` in ``grid_sample`` units.

    Returns:
        Flow ``[2, H/2, W/2]`` in ``grid_sample`` units, and how sure it is there ``[1, H/2, W/2]``:
        high where it explains the driver's frame better than the mesh flow does.
    """
    height, width = driver.shape[0] // 2, driver.shape[1] // 2
    grey = [
        cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        for picture in (driver, target)
    ]
    units = np.array([width / 2, height / 2], np.float32)
    start = cv2.resize(np.moveaxis(mesh_flow, 0, 2), (width, height)) * units
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = dis.calc(grey[0], grey[1], start.copy())

    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))

    def unexplained(flow: Float32) -> Float32:
        moved = cv2.remap(
            grey[1], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return cv2.blur(np.abs(moved.astype(np.float32) - grey[0]), (7, 7))

    mesh_error, found_error = unexplained(start), unexplained(found)
    sure = np.clip((mesh_error - found_error) / (mesh_error + 6.0), 0.0, 1.0) + 0.3 * (found_error < 8.0)
    return np.moveaxis(found / units, 2, 0).astype(np.float32), sure[None].astype(np.float32)


def to_picture_tensor(picture: npt.NDArray[np.uint8]) -> Tensor:
    """RGB uint8 ``[..., H, W, 3]`` to float ``[..., 3, H, W]`` in -1..1."""
    return torch.from_numpy(picture).movedim(-1, -3).float() / 127.5 - 1.0
