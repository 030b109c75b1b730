"""The driver encoder: drawn landmarks (pose and expression) to the driver feature map z_x ([0093]-[0095])."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from models.marionette.blocks import ResidualBlock, stem


class DriverEncoder(nn.Module):
    """Convolutions that halve the resolution at each level.

    It sees the driver only through drawn landmarks that were put onto the target's identity before, so
    neither the driver's colours nor its face shape can pass.

    Args:
        raster_channels: colours of the landmark drawing.
        channels: width of each level; the drawing is halved ``len(channels) - 1`` times,
        stride: and by this at the very start.
    """

    def __init__(self, raster_channels: int, channels: Sequence[int], stride: int = 1) -> None:
        super().__init__()
        self.stem = stem(raster_channels, channels[0], stride)
        self.levels = nn.Sequential(
            *(ResidualBlock(before, after, "down") for before, after in itertools.pairwise(channels))
        )

    def forward(self, raster: Tensor) -> Tensor:
        """Drawn landmarks ``r_x`` ``[B, raster_channels, H, W]`` to ``z_x`` ``[B, channels[-1], H', W']``."""
        return self.levels(self.stem(raster))
