"""Draws the landmarks of many faces at once, on any device: the twin of :mod:`models.landmarks.raster`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from models.landmarks.topology import RASTER_LINES
from models.mesh_warp.tensors import pixel_grid, smoothstep

__all__ = ["draw_landmarks"]

#: Segments that are drawn at once; more need more memory and gain nothing.
_AT_ONCE = 16
#: OpenCV's thin anti-aliased lines, as measured: brightness in their middle, and where it has gone (pixels).
_BRIGHTEST, _REACH = 0.92, 1.4


def draw_landmarks(landmarks: Tensor, size: int) -> Tensor:
    """Rasterise landmarks ``[B, 478, >=2]`` in units of the picture: ``[B, 3, size, size]`` in 0..1.

    Args:
        landmarks: of B faces.
        size: pixels a side, under 192, where lines are a pixel thick.
    """
    points = landmarks[..., :2].clamp(-1.0, 2.0) * size - 0.5
    x, y = pixel_grid(size, points)
    channels = []
    for ends in _segments(points.device):
        nearest = torch.full((len(points), size, size), _REACH**2, device=points.device)
        for chunk in ends.split(_AT_ONCE):
            start, end = points[:, chunk[:, 0]], points[:, chunk[:, 1]]
            along = end - start
            squared = along.square().sum(-1).clamp(min=1e-6)[..., None, None]
            (sx, sy), (ax, ay) = (part[..., None, None].unbind(2) for part in (start, along))
            dx, dy = x[None] - sx, y[None] - sy
            share = ((dx * ax + dy * ay) / squared).clamp(0.0, 1.0)
            distance = (dx - share * ax).square() + (dy - share * ay).square()
            nearest = torch.minimum(nearest, distance.amin(1))
        channels.append(_BRIGHTEST * (1.0 - smoothstep(nearest.sqrt(), 0.0, _REACH)))
    return torch.stack(channels, dim=1)


@lru_cache(maxsize=4)
def _segments(device: torch.device) -> list[Tensor]:
    """For each colour, the ends of its lines' segments ``[N, 2]``."""
    colours = []
    for lines in RASTER_LINES:
        chains = [np.asarray(line) for line in lines]
        ends = np.concatenate([np.stack([chain[:-1], chain[1:]], axis=1) for chain in chains])
        with torch.inference_mode(False):
            colours.append(torch.as_tensor(ends, device=device))
    return colours
