"""The target encoder: photo and drawn landmarks to z_y and the pose-normalised features (FIG. 8, Eq. 12)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.marionette.blocks import ResidualBlock, resize, stem, warp
from models.marionette.flow import FlowHead


class EncodedTarget(NamedTuple):
    """What is known of target images before any driver is seen.

    Attributes:
        z_y: target feature maps, ``[B, c_y, h, w]``.
        normalised: the pose-normalised features (Eq. 12), finest first, ``[B, c_j, h_j, w_j]`` each.
    """

    z_y: Tensor
    normalised: list[Tensor]


class TargetEncoder(nn.Module):
    """A U-Net of ``len(channels)`` halvings and one doubling, with a normalising flow f_y ([0169]-[0174]).

    "Normalised" means: in the pose of the target's reference photo. The flow starts from the mesh flow
    that takes the reference's landmarks to this photo's (zero for the reference itself), so photos of
    one person in several poses meet in one frame before any training and can be averaged there ([0193]).

    Args:
        raster_channels: colours of the landmark drawing.
        channels: width of each level. All but the last, deepest one give a feature S_j.
        stride: 2 halves the resolution before the first level, too.
    """

    def __init__(self, raster_channels: int, channels: Sequence[int], stride: int = 1) -> None:
        super().__init__()
        widths = [channels[0], *channels]
        self.stem = stem(3 + raster_channels, widths[0], stride)
        self.down = nn.ModuleList(
            ResidualBlock(before, after, "down", normalise=False)
            for before, after in itertools.pairwise(widths)
        )
        self.up = ResidualBlock(channels[-1], channels[-2], "up", normalise=False)
        self.join = nn.Conv2d(2 * channels[-2], channels[-2], 1)
        self.flow = FlowHead(channels[-2])

    def forward(self, photo: Tensor, raster: Tensor, mesh_maps: Tensor) -> EncodedTarget:
        """Encode target photos.

        Args:
            photo: ``y``, ``[B, 3, H, W]`` in -1..1.
            raster: the photo's own landmarks drawn, ``r_y``, ``[B, raster_channels, H, W]``.
            mesh_maps: splats from the reference photo's landmarks to this photo's, ``[B, 6, h, w]`` at
                the resolution of ``z_y``.
        """
        x = self.stem(torch.cat((photo, raster), dim=1))
        features = []  # S_1 .. S_n and the deepest
        for level in self.down:
            x = level(x)
            features.append(x)
        *scales, deepest = features
        z_y = self.join(torch.cat((self.up(deepest), scales[-1]), dim=1))
        f_y = self.flow(z_y, mesh_maps, mesh_maps[:, :2]).flow
        normalised = [warp(scale, resize_flow(f_y, scale)) for scale in scales]
        return EncodedTarget(z_y, normalised)


def resize_flow(flow: Tensor, like: Tensor) -> Tensor:
    """A flow at the resolution of ``like``; its units (a map is 2 wide) do not change with resolution."""
    return resize(flow, (like.shape[2], like.shape[3]))
