"""The discriminator: are the picture and its landmarks real, patch by patch? ([0101])"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from models.marionette.blocks import ResidualBlock


class Discriminator(nn.Module):
    """Scores of overlapping patches of a picture, given the drawn landmarks it should follow.

    Spectral norm on every convolution and no other normalisation keep the hinge loss stable.

    Args:
        raster_channels: colours of the landmark drawing.
        channels: width of each level; each halves the resolution.
    """

    def __init__(self, raster_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        widths = [3 + raster_channels, *channels]
        self.levels = nn.ModuleList(
            ResidualBlock(before, after, "down", normalise=False)
            for before, after in itertools.pairwise(widths)
        )
        self.score = nn.Conv2d(channels[-1], 1, 1)
        for module in list(self.modules()):
            if isinstance(module, nn.Conv2d):
                spectral_norm(module)

    def forward(self, picture: Tensor, raster: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score a picture.

        Args:
            picture: ``[B, 3, H, W]`` in -1..1.
            raster: ``[B, raster_channels, H, W]``.

        Returns:
            Patch scores ``[B, 1, H', W']`` (positive: real) and the features of every level, for the
            feature matching loss.
        """
        x = torch.cat((picture, raster), dim=1)
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return self.score(F.silu(x)), features
