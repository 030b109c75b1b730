"""Each equation of the generator (Eq. 12-15) against a slow transcription of the patent's own text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.marionette.attention import ImageAttention, positional_encoding
from models.marionette.blocks import warp


def test_positional_encoding_is_equation_15() -> None:
    height, width, channels = 5, 7, 12
    encoding = positional_encoding(height, width, channels)
    for i in range(height):
        for j in range(width):
            for k in range(channels // 4):
                denominator = 10000 ** (2 * k / channels)
                row, column = 256 * i / (height * denominator), 256 * j / (width * denominator)
                expected = [math.sin(row), math.cos(row), math.sin(column), math.cos(column)]
                assert encoding[4 * k : 4 * k + 4, i, j].tolist() == pytest.approx(expected, abs=2e-5)


def test_positional_encoding_needs_a_multiple_of_four() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        positional_encoding(4, 4, 10)


def attention_by_hand(block: ImageAttention, z_x: np.ndarray, z_y: np.ndarray) -> np.ndarray:
    """Equations 13 and 14 with loops over positions. ``z_x`` [c, h, w], ``z_y`` [K, c, h, w]."""
    weights = {name: parameter.detach().numpy() for name, parameter in block.named_parameters()}
    c_x, h, w = z_x.shape
    count, c_y = z_y.shape[:2]
    p_x, p_y = positional_encoding(h, w, c_x), positional_encoding(h, w, c_y)
    keys, values = [], []
    for k in range(count):
        for i in range(h):
            for j in range(w):
                keys.append(
                    weights["key.weight"] @ z_y[k, :, i, j] + weights["key_position.weight"] @ p_y[:, i, j]
                )
                values.append(weights["value.weight"] @ z_y[k, :, i, j])
    out = np.empty_like(z_x)
    for i in range(h):
        for j in range(w):
            query = weights["query.weight"] @ z_x[:, i, j] + weights["query_position.weight"] @ p_x[:, i, j]
            logits = np.array([query @ key for key in keys]) / math.sqrt(len(query))
            share = np.exp(logits - logits.max())
            share /= share.sum()
            out[:, i, j] = sum(s * v for s, v in zip(share, values, strict=True))
    return out


@pytest.mark.parametrize("photos", [1, 3])
def test_attention_is_equations_13_and_14(photos: int) -> None:
    torch.manual_seed(photos)
    block = ImageAttention(driver_channels=8, target_channels=12, attention_channels=6).eval()
    z_x, z_y = torch.randn(1, 8, 4, 4), torch.randn(1, photos, 12, 4, 4)
    attended = torch.from_numpy(attention_by_hand(block, z_x[0].numpy(), z_y[0].numpy()))[None]
    with torch.no_grad():
        mixed = block.norm1(z_x + attended)
        expected = block.norm2(mixed + block.conv(mixed))
        actual = block(z_x, block.memory(z_y))
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-4)


def test_padded_memory_is_not_attended_to() -> None:
    torch.manual_seed(0)
    block = ImageAttention(driver_channels=8, target_channels=8, attention_channels=4).eval()
    z_x, z_y = torch.randn(1, 8, 4, 4), torch.randn(1, 2, 8, 4, 4)
    mask = torch.arange(2 * 16)[None] < 16
    with torch.no_grad():
        alone = block(z_x, block.memory(z_y[:, :1]))
        padded = block(z_x, block.memory(z_y), mask)
    torch.testing.assert_close(padded, alone)


def test_warp_is_bilinear_sampling_at_grid_plus_flow() -> None:
    """T of equation 12, transcribed: each cell takes the bilinear mix of the four cells it points between."""
    torch.manual_seed(1)
    height, width = 6, 5
    features = torch.randn(1, 2, height, width)
    flow = 0.5 * torch.randn(1, 2, height, width)
    actual = warp(features, flow)[0].numpy()
    source = features[0].numpy()
    for i in range(height):
        for j in range(width):
            # one cell is 2/width wide in flow units
            x = min(max(j + flow[0, 0, i, j].item() * width / 2, 0), width - 1)
            y = min(max(i + flow[0, 1, i, j].item() * height / 2, 0), height - 1)
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            right_share, bottom_share = x - left, y - top
            expected = (
                source[:, top, left] * (1 - right_share) * (1 - bottom_share)
                + source[:, top, left + 1] * right_share * (1 - bottom_share)
                + source[:, top + 1, left] * (1 - right_share) * bottom_share
                + source[:, top + 1, left + 1] * right_share * bottom_share
            )
            np.testing.assert_allclose(actual[:, i, j], expected, atol=1e-5)


def test_inference_first_does_not_spoil_training() -> None:
    """What a forward pass in inference mode computed first is used by the next one that trains."""
    block = ImageAttention(8, 8, 4)
    driver, target = torch.rand(1, 8, 5, 3), torch.rand(1, 1, 8, 5, 3)
    with torch.inference_mode():
        block(driver, block.memory(target))
    block(driver, block.memory(target)).sum().backward()
    assert block.key_position.weight.grad is not None
