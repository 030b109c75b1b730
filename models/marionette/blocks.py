"""Building blocks shared by the encoders and the decoder: residual blocks and the warping function T."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Resample = Literal["none", "down", "up"]


class ResidualBlock(nn.Module):
    """A pre-activation residual block that keeps, halves or doubles the resolution (BigGAN's form).

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        resample: ``down`` averages 2x2 pixels after the convolutions, ``up`` repeats pixels before them.
        normalise: instance norm before each activation. Off in the target encoder, whose amplitudes
            carry the target's style, and in the discriminator.
    """

    def __init__(
        self, channels_in: int, channels_out: int, resample: Resample = "none", *, normalise: bool = True
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm1 = nn.InstanceNorm2d(channels_in, affine=True) if normalise else nn.Identity()
        self.norm2 = nn.InstanceNorm2d(channels_out, affine=True) if normalise else nn.Identity()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels_in, H, W]`` to ``[B, channels_out, H', W']``."""
        residual = F.silu(self.norm1(x))
        if self.resample == "up":
            residual = F.interpolate(residual, scale_factor=2, mode="nearest")
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        residual = self.conv2(F.silu(self.norm2(self.conv1(residual))))
        shortcut = self.skip(x)
        if self.resample == "down":
            residual = F.avg_pool2d(residual, 2)
            shortcut = F.avg_pool2d(shortcut, 2)
        return shortcut + residual


def stem(channels_in: int, channels_out: int, stride: int) -> nn.Conv2d:
    """The first convolution of an encoder: keeps the resolution (stride 1) or makes it that much smaller."""
    return nn.Conv2d(channels_in, channels_out, 2 + stride, stride=stride, padding=1)


def identity_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Centres of the cells of a map in ``grid_sample`` units (-1..1): ``[1, H, W, 2]`` as (x, y)."""
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * (2.0 / height) - 1.0
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * (2.0 / width) - 1.0
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((grid_x, grid_y), dim=-1)[None]


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """The warping function T (Eq. 12, [0192]): sample ``features`` where ``flow`` points.

    Args:
        features: ``[B, C, h, w]``.
        flow: ``[B, 2, H, W]``, displacement (x, y) from each output cell to the place it is taken from,
            in units in which the map is 2 wide and 2 high.

    Returns:
        ``[B, C, H, W]``; places outside ``features`` repeat its border.
    """
    # Always in single precision: places in bfloat16 are off by cells, and even end outside of the map, where
    # torch's sampling on a CPU reads memory that is not its own.
    places = flow.float()
    grid = identity_grid(flow.shape[2], flow.shape[3], places) + places.permute(0, 2, 3, 1)
    warped = F.grid_sample(
        features.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return warped.to(features.dtype)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``[B, C, h, w]`` to ``[B, C, *size]``: bilinear, or averaging by a whole factor."""
    height, width = int(maps.shape[2]), int(maps.shape[3])  # numbers also while the network is traced
    if (height, width) == size:
        return maps
    if height % size[0] == 0 and width % size[1] == 0:
        return F.avg_pool2d(maps, (height // size[0], width // size[1]))
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
