"""Pictures, local frames and edges as batches of tensors: what drawing on a device is made of.

Twins of :mod:`models.mesh_warp.feature_frame` and of OpenCV's sampling, for B faces at once, with no step
whose size depends on the data: so it can be captured as a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from models.mesh_warp.feature_frame import SAMPLES, TABLE_FROM, TABLE_TO

__all__ = ["Edges", "Frame", "pixel_grid", "sampled", "smoothstep"]


def pixel_grid(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of each pixel, ``[1, size, size]`` each."""
    at = torch.arange(size, device=like.device, dtype=torch.float32)
    return at.expand(1, size, size), at[:, None].expand(1, size, size)


def sampled(
    pictures: Tensor, x: Tensor, y: Tensor, border: Literal["border", "reflection"] = "border"
) -> Tensor:
    """``[B, C, S, S]`` at places ``[B, h, w]`` in pixels: ``[B, C, h, w]``.

    Equals ``cv2.remap``, which rounds places to 1/32 pixel, with BORDER_REPLICATE or BORDER_REFLECT_101.
    """
    to_unit = 2.0 / (pictures.shape[-1] - 1)
    grid = torch.stack((x, y), dim=-1) * to_unit - 1.0
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode=border, align_corners=True)


def smoothstep(x: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = ((x - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@dataclass(frozen=True)
class Frame:
    """Twin of :class:`models.mesh_warp.feature_frame.FeatureFrame`: ``origin`` and ``along``, ``[B, 2]``."""

    origin: Tensor
    along: Tensor

    @classmethod
    def between(cls, left: Tensor, right: Tensor) -> Frame:
        """The frames of corners ``[B, >=2]``; ones that coincide still give a frame of a pixel."""
        along = right[:, :2] - left[:, :2]
        tiny = along.square().sum(1, keepdim=True) < 1.0
        level = torch.zeros_like(along)
        level[:, 0] = 1.0
        return cls(left[:, :2], torch.where(tiny, level, along))

    @property
    def width(self) -> Tensor:
        """``[B, 1, 1]`` pixels."""
        return self.along.norm(dim=1)[:, None, None]

    def to_local(self, points: Tensor) -> Tensor:
        """Pixels ``[B, N, >=2]`` to (u, v) ``[B, N, 2]``."""
        x, y = (points[..., :2] - self.origin[:, None]).unbind(-1)
        ax, ay = self.along[:, None, 0], self.along[:, None, 1]
        squared = self.along.square().sum(1)[:, None]
        return torch.stack(((x * ax + y * ay) / squared, (y * ax - x * ay) / squared), dim=-1)

    def to_pixels(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each ``[B, ...]``, to pixels x and y."""
        wide = (-1, *([1] * (u.dim() - 1)))
        (ox, oy), (ax, ay) = (part.T.reshape(2, *wide) for part in (self.origin, self.along))
        return ox + u * ax - v * ay, oy + u * ay + v * ax

    def grid(self, size: int) -> tuple[Tensor, Tensor]:
        """(u, v) of every pixel of pictures of ``size`` a side, ``[B, size, size]`` each."""
        x, y = pixel_grid(size, self.origin)
        pixels = torch.stack((x, y), dim=-1).reshape(1, -1, 2)
        u, v = self.to_local(pixels.expand(len(self.origin), -1, -1)).unbind(-1)
        return u.reshape(-1, size, size), v.reshape(-1, size, size)

    def window(self, u_range: tuple[float, float], v_range: tuple[float, float], size: int) -> Tensor:
        """Which pixels the window of :meth:`FeatureFrame.window` holds, ``[B, size, size]``; none if it is
        smaller than two pixels."""
        batch = len(self.origin)
        # filled on the device: a captured graph must not copy from the host
        u, v = (
            torch.stack([torch.full((batch,), end, device=self.origin.device) for end in ends], dim=1)
            for ends in ((*u_range, *u_range), (v_range[0], v_range[0], v_range[1], v_range[1]))
        )
        inside = torch.ones(batch, size, size, dtype=torch.bool, device=u.device)
        for corners, at in zip(
            self.to_pixels(u, v),
            pixel_grid(size, self.origin),
            strict=True,
        ):
            first = corners.amin(1).trunc().clamp(min=0)[:, None, None]
            end = (corners.amax(1).ceil() + 1).clamp(max=size)[:, None, None]
            inside &= (at >= first) & (at < end) & (end - first >= 2)
        return inside


class Edges:
    """Twin of :class:`models.mesh_warp.feature_frame.EdgeTable`.

    Args:
        heights: of E edges in the table, ``[B, E, 256]``.
    """

    def __init__(self, heights: Tensor) -> None:
        self.heights = heights

    @classmethod
    def through(cls, edges: Tensor) -> Edges:
        """Through points (u, v) ``[B, E, P, 2]``, straight between them and flat beyond the ends."""
        order = edges[..., 0].argsort(dim=-1)
        u, v = (edges[..., axis].gather(-1, order).contiguous() for axis in (0, 1))
        at = torch.linspace(TABLE_FROM, TABLE_TO, SAMPLES, device=u.device, dtype=u.dtype)
        at = at.expand(*u.shape[:-1], -1).contiguous()
        right = torch.searchsorted(u, at, right=True).clamp(1, u.shape[-1] - 1)
        u0, u1, v0, v1 = (values.gather(-1, index) for values in (u, v) for index in (right - 1, right))
        share = ((at - u0) / (u1 - u0).clamp(min=1e-12)).clamp(0.0, 1.0)
        return cls(v0 + share * (v1 - v0))

    @staticmethod
    def index(u: Tensor) -> Tensor:
        """Where in the table each u is found."""
        scale = (SAMPLES - 1) / (TABLE_TO - TABLE_FROM)
        return ((u - TABLE_FROM) * scale + 0.5).clamp(0, SAMPLES - 1).long()

    def at(self, index: Tensor) -> tuple[Tensor, ...]:
        """Height of each edge at each place of ``index`` ``[B, h, w]``."""
        return tuple(_looked_up(row, index) for row in self.heights.unbind(1))

    def steepness(self, edge: int, index: Tensor) -> Tensor:
        """See :meth:`EdgeTable.steepness`."""
        (slope,) = torch.gradient(self.heights[:, edge], dim=1)
        slope = slope * ((SAMPLES - 1) / (TABLE_TO - TABLE_FROM))
        smooth = F.avg_pool1d(slope[:, None], 9, 1, padding=4)[:, 0]
        return _looked_up((1 + smooth.clamp(-4, 4).square()).sqrt(), index)


def _looked_up(table: Tensor, index: Tensor) -> Tensor:
    return table.gather(1, index.flatten(1)).reshape(index.shape)
