"""Image attention: the driver's positions attend to all of the targets' positions (FIG. 9, Eq. 13-15)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.marionette.positions import positional_encoding

__all__ = ["AttentionMemory", "ImageAttention", "positional_encoding"]


@lru_cache(maxsize=16)
def _cached_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # what inference computes first must serve training too
        encoding = torch.from_numpy(positional_encoding(height, width, channels))
        return encoding.flatten(1).T.contiguous().to(device)


def _encoded_positions(features: Tensor) -> Tensor:
    """Encodings of the positions of a feature map ``[..., c, h, w]``: ``[h * w, c]``, like ``features``."""
    channels, height, width = features.shape[-3:]
    return _cached_positions(height, width, channels, features.device).to(features.dtype)


class AttentionMemory(NamedTuple):
    """Keys and values of a target's positions; they do not depend on the driver and are computed once.

    Attributes:
        key: ``[B, M, c_a]`` with ``M = K * h_y * w_y`` positions of K target images (Eq. 13).
        value: ``[B, M, c_x]``.
    """

    key: Tensor
    value: Tensor


class ImageAttention(nn.Module):
    """One image attention block: attention, residual, instance norm, convolution ([0184]-[0188]).

    Args:
        driver_channels: ``c_x``, channels of the driver feature map (query), kept by the block.
        target_channels: ``c_y``, channels of the target feature maps (memory).
        attention_channels: ``c_a``, channels in which query and key are compared.
    """

    def __init__(self, driver_channels: int, target_channels: int, attention_channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(driver_channels, attention_channels, bias=False)
        self.query_position = nn.Linear(driver_channels, attention_channels, bias=False)
        self.key = nn.Linear(target_channels, attention_channels, bias=False)
        self.key_position = nn.Linear(target_channels, attention_channels, bias=False)
        self.value = nn.Linear(target_channels, driver_channels, bias=False)
        self.norm1 = nn.InstanceNorm2d(driver_channels, affine=True)
        self.norm2 = nn.InstanceNorm2d(driver_channels, affine=True)
        self.conv = nn.Sequential(
            nn.Conv2d(driver_channels, driver_channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(driver_channels, driver_channels, 3, padding=1),
        )

    def memory(self, target: Tensor) -> AttentionMemory:
        """Keys and values of the target feature maps ``z_y`` ``[B, K, c_y, h, w]`` (Eq. 13)."""
        positions = target.flatten(3).transpose(2, 3)  # [B, K, h*w, c_y]
        key = self.key(positions) + self.key_position(_encoded_positions(target))
        return AttentionMemory(key.flatten(1, 2), self.value(positions).flatten(1, 2))

    def forward(self, driver: Tensor, memory: AttentionMemory, mask: Tensor | None = None) -> Tensor:
        """Mix the driver feature map with the targets' (Eq. 13-14, [0188]).

        Args:
            driver: ``z_x``, ``[B, c_x, h, w]``.
            memory: of this block, for the same batch.
            mask: ``[B, M]``, false where a shorter memory was padded to the batch's length.

        Returns:
            The mixed feature map ``z_xy``, ``[B, c_x, h, w]``.
        """
        positions = driver.flatten(2).transpose(1, 2)  # [B, h*w, c_x]
        query = self.query(positions) + self.query_position(_encoded_positions(driver))
        attended = F.scaled_dot_product_attention(
            query,
            memory.key,
            memory.value,
            attn_mask=None if mask is None else mask[:, None, :],
            scale=1.0 / math.sqrt(query.shape[-1]),
        )
        mixed = self.norm1(driver + attended.transpose(1, 2).reshape(driver.shape))
        return self.norm2(mixed + self.conv(mixed))
