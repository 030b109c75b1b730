"""Mesh maps of many faces at once, on any device: the twin of :func:`models.mesh_maps.mesh_maps`."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.landmarks import topology as face
from models.landmarks.topology import canonical_face
from models.mesh_warp.eyes import EYES
from models.mesh_warp.flow import (
    CARRIED,
    CORRECTIONS,
    EXACT,
    EXACT_STILL,
    FLOW_SIZE,
    SKULL_SHARES,
    WINDOW,
)  # fmt: skip
from models.mesh_warp.splats import COARSE, FILL, FINE, MARGIN, STILL, blur_kernel
from models.mesh_warp.tensors import Frame

__all__ = ["FaceGeometry", "Moved", "moved_faces"]

_SQUARINGS = 14  # of the quaternions' matrix: afterwards only its largest eigenvector is left


class FaceGeometry(NamedTuple):
    """Of each target's photo.

    Attributes:
        points: landmarks ``[B, 478, 3]`` in pixels.
        skull: what :func:`models.mesh_warp.flow.skull_points` gave for them, ``[B, 42, 3]``.
        eyes: lids and irises in the frames of their eyes, ``[B, 2, n, 2]``.
    """

    points: Tensor
    skull: Tensor
    eyes: Tensor


class Moved(NamedTuple):
    """Attributes:
    maps: ``[B, 6, FLOW_SIZE, FLOW_SIZE]``, see :func:`models.mesh_maps.mesh_maps`.
    opened: the shown landmarks with the eyes as in the photo, ``[B, 478, 3]``.
    """

    maps: Tensor
    opened: Tensor


def moved_faces(geometry: FaceGeometry, shown: Tensor, size: int) -> Moved:
    """Maps of how each photo's face has to move to be as ``shown`` ``[B, 478, 3]`` (pixels of ``size``)."""
    opened = _with_open_eyes(shown, geometry.eyes)
    constants = _constants(shown.device)
    followed = _moved_with_skull(geometry, opened, constants)
    places = torch.cat((opened[:, constants.carried, :2], followed), dim=1)
    sources = torch.cat((geometry.points[:, constants.carried, :2], geometry.skull[..., :2]), dim=1)
    flow = _mesh_flow((places + 0.5) / size, (sources + 0.5) / size, constants)

    splats = _Splats((shown[..., :2] + 0.5) / size)
    attributes = constants.attributes.expand(len(shown), -1, -1)
    coarse = splats.blurred(attributes, COARSE)
    coarse = coarse[:, :3] / (coarse[:, 3:] + STILL)
    fine = splats.blurred(attributes, FINE)
    density = fine[:, 3:]
    where = (fine[:, :3] + FILL * coarse) / (density + FILL)
    return Moved(torch.cat((2.0 * flow, where, density / (density + 1.0)), dim=1), opened)


class _Constants(NamedTuple):
    """On a device: what does not depend on the face."""

    carried: Tensor
    rigid: Tensor
    own: list[Tensor]
    shares: Tensor
    window: Tensor
    attributes: Tensor


@lru_cache(maxsize=4)
def _constants(device: torch.device) -> _Constants:
    average = canonical_face().T
    attributes = np.concatenate([average, np.ones((1, average.shape[1]))]).astype(np.float32)
    own = [np.concatenate([upper, lower, iris]) for _, _, upper, lower, iris in EYES]
    with torch.inference_mode(False):
        return _Constants(
            torch.as_tensor(CARRIED, device=device),
            torch.as_tensor(np.asarray(face.RIGID), device=device),
            [torch.as_tensor(index, device=device) for index in own],
            torch.as_tensor(SKULL_SHARES, device=device),
            torch.as_tensor(np.ascontiguousarray(WINDOW[..., 0], np.float32), device=device),
            torch.as_tensor(attributes, device=device)[None],
        )


def _with_open_eyes(shown: Tensor, eyes: Tensor) -> Tensor:
    """See :func:`models.mesh_warp.eyes.with_open_eyes`."""
    opened = shown.clone()
    for (left, right, *_), own, local in zip(EYES, _constants(shown.device).own, eyes.unbind(1), strict=True):
        frame = Frame.between(shown[:, left], shown[:, right])
        pixels = frame.to_pixels(local[..., 0], local[..., 1])
        opened[:, own, :2] = torch.stack(pixels, dim=-1)
    return opened


def _moved_with_skull(geometry: FaceGeometry, shown: Tensor, constants: _Constants) -> Tensor:
    """See :func:`models.mesh_warp.flow.moved_with_skull`.

    The rotation is Horn's unit quaternion (1987), the eigenvector of the largest eigenvalue of a symmetric
    4x4 matrix, found by squaring the matrix until nothing else is left of it: a fixed sequence of products,
    where a batched singular value decomposition would make the host wait.
    """
    source, goal = geometry.points[:, constants.rigid], shown[:, constants.rigid]
    source_mean, goal_mean = source.mean(1, keepdim=True), goal.mean(1, keepdim=True)
    a, b = source - source_mean, goal - goal_mean
    spread = a.square().sum((1, 2))
    s = a.transpose(1, 2) @ b / spread.clamp(min=1e-12)[:, None, None]
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(1) for row in s.unbind(1))
    rows = [
        (xx + yy + zz, yz - zy, zx - xz, xy - yx),
        (yz - zy, xx - yy - zz, xy + yx, zx + xz),
        (zx - xz, xy + yx, yy - xx - zz, yz + zy),
        (xy - yx, zx + xz, yz + zy, zz - xx - yy),
    ]
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    norm = matrix.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-12)
    power = matrix / norm + torch.eye(4, device=s.device)  # all eigenvalues positive
    for _ in range(_SQUARINGS):
        power = power @ power
        power = power / power.square().sum((1, 2), keepdim=True).sqrt()
    column = power.diagonal(dim1=1, dim2=2).argmax(1)
    quaternion = F.normalize(power.gather(2, column[:, None, None].expand(-1, 4, 1))[..., 0], dim=1)
    scale = torch.einsum("bi,bij,bj->b", quaternion, matrix, quaternion)[:, None, None]
    moved = scale * (geometry.skull - source_mean) @ _rotation(quaternion).transpose(1, 2) + goal_mean
    sound = (spread > 1e-12) & (b.square().sum((1, 2)) > 1e-12)
    moved = torch.where(sound[:, None, None], moved, geometry.skull)
    return (geometry.skull + constants.shares * (moved - geometry.skull))[..., :2]


def _rotation(quaternion: Tensor) -> Tensor:
    """Rotation matrices ``[B, 3, 3]`` of unit quaternions (w, x, y, z)."""
    w, x, y, z = quaternion.unbind(1)
    rows = [
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def _mesh_flow(shown: Tensor, photo: Tensor, constants: _Constants) -> Tensor:
    """See :func:`models.mesh_warp.flow.mesh_flow`: ``[B, 2, FLOW_SIZE, FLOW_SIZE]``."""
    splats = _Splats(shown)
    displacement = (photo - shown).transpose(1, 2)
    laid = torch.cat((displacement, torch.ones_like(displacement[:, :1])), dim=1)
    coarse = splats.blurred(laid, COARSE)
    flow = coarse[:, :2] / (coarse[:, 2:] + STILL)
    fine = splats.blurred(laid, FINE)
    flow = (fine[:, :2] + FILL * flow) / (fine[:, 2:] + FILL)
    against = splats.blurred(laid[:, 2:], EXACT) + EXACT_STILL
    for _ in range(CORRECTIONS):
        there = F.grid_sample(
            flow, 2.0 * shown[:, None] - 1.0, mode="bilinear", padding_mode="border", align_corners=False
        )[:, :, 0]
        flow = flow + splats.blurred(displacement - there, EXACT) / against
    return flow * constants.window


class _Splats:
    """Twin of :class:`models.mesh_warp.splats.Splats`, of points ``[B, N, 2]``.

    Laying down and blurring are both separable and linear, so each point's splat is an outer product of a
    row and a column, and their weighted sum a matrix product.
    """

    def __init__(self, points: Tensor) -> None:
        side = FLOW_SIZE + 2 * MARGIN
        place = points * FLOW_SIZE + (MARGIN - 0.5)
        self._inside = ((place >= 0) & (place < side - 1)).all(-1, keepdim=True)
        cells = torch.arange(side, device=points.device, dtype=points.dtype)
        self._tents = [(1.0 - (place[..., axis, None] - cells).abs()).clamp(min=0.0) for axis in (0, 1)]
        self._made: dict[float, tuple[Tensor, Tensor]] = {}

    def blurred(self, values: Tensor, width: float) -> Tensor:
        """Sum of the points' values ``[B, C, N]`` times their splats: ``[B, C, FLOW_SIZE, FLOW_SIZE]``."""
        if width not in self._made:
            blur = _blur(width, self._inside.device)
            across, down = (tent @ blur for tent in self._tents)
            self._made[width] = across, down * self._inside
        across, down = self._made[width]
        rows = (down[:, None] * values[..., None]).transpose(2, 3)  # [B, C, FLOW_SIZE, N]
        return rows @ across[:, None]


@lru_cache(maxsize=16)
def _blur(width: float, device: torch.device) -> Tensor:
    """What a cell with margin gives to each cell inside, ``[side, FLOW_SIZE]``."""
    kernel = blur_kernel(width * FLOW_SIZE)
    reach = len(kernel) // 2
    away = np.arange(FLOW_SIZE)[None] + MARGIN - np.arange(FLOW_SIZE + 2 * MARGIN)[:, None] + reach
    inside = (away >= 0) & (away < len(kernel))
    blur = np.where(inside, kernel[np.clip(away, 0, len(kernel) - 1)], 0.0).astype(np.float32)
    with torch.inference_mode(False):
        return torch.as_tensor(blur, device=device)
