"""Oil: layers of ever finer brush strokes along the edges, with bristles and thick paint."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from server.gallery.drawing import Array, luminance, saturated
from server.gallery.lighting import photograph
from server.gallery.portrait import Part, Portrait
from server.gallery.styles.common import edge_direction, features, normal_noise, page_scale, streaks

_FIXED_BITS = 3


@dataclass(frozen=True)
class _Layer:
    """One pass with one brush: half its width in page pixels, strokes tried, how much detail asks for it."""

    radius: float
    strokes: int
    needed: float
    uneven: float  # deviation of the colours mixed


_LAYERS = (
    _Layer(26, 2_600, 0, 0.020),
    _Layer(13, 7_000, 0, 0.020),
    _Layer(7, 16_000, 0.06, 0.011),
    _Layer(3.6, 34_000, 0.16, 0.006),
    _Layer(2, 42_000, 0.45, 0.006),
)


def oil(portrait: Portrait) -> Array:
    """An oil painting (after Hertzmann, "Painterly rendering with curved brush strokes", 1998)."""
    size, canvas = portrait.canvas.size, portrait.canvas
    random = np.random.default_rng(1)
    warm = np.array([1.03, 0.99, 0.93], np.float32)
    image = np.clip(saturated(photograph(portrait), 1.12) * warm, 0, 1).astype(np.float32)
    grey = luminance(image)
    detail = cv2.GaussianBlur(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 3)), (0, 0), 5)
    careful = features(portrait, 0.03, brows=True)
    need = np.maximum(np.clip(detail / np.quantile(detail, 0.97), 0, 1), careful)
    behind = 1 - canvas.blur(portrait.cover, 0.02)
    sweep = (np.pi * 0.28 + 0.5 * np.sin(canvas.x * 2.1 + canvas.y * 1.3)).astype(np.float32)

    painted = np.clip((cv2.GaussianBlur(image, (0, 0), 14) * 0.8 + 0.02) * 255, 0, 255).astype(np.uint8)
    thickness = np.full((size, size), 127, np.uint8)
    for layer in _LAYERS:
        angle = edge_direction(
            cv2.GaussianBlur(image, (0, 0), layer.radius * 0.35), max(2.5, layer.radius * 0.6)
        )
        angle = np.where(behind > 0.6, sweep, angle)
        reference = cv2.GaussianBlur(image, (0, 0), max(0.6, layer.radius * 0.30))
        _paint_layer(random, layer, page_scale(portrait), reference, angle, need, behind, painted, thickness)

    picture = painted.astype(np.float32) / 255
    bristles = streaks(normal_noise(size, random), edge_direction(picture, 4), 8, 1.4)
    height = 0.55 * (thickness.astype(np.float32) / 127 - 1) + 0.33 * bristles
    height = cv2.GaussianBlur(height, (0, 0), 0.9)
    slopes = [cv2.Sobel(height, cv2.CV_32F, k, 1 - k) / 8 for k in (1, 0)]
    relief = np.clip(-(0.7 * slopes[0] + 0.75 * slopes[1]), -0.35, 0.45)
    relief = relief * (1 - 0.6 * careful) * np.where(portrait.part == Part.HEAD, 0.62, 1)
    picture = picture * (1 + 0.42 * relief[..., None]) + 0.12 * np.clip(relief - 0.12, 0, 1)[..., None]
    return np.asarray(np.clip(picture, 0, 1), np.float32)


def _paint_layer(
    random: np.random.Generator,
    layer: _Layer,
    scale: float,
    reference: Array,
    angle: Array,
    need: Array,
    behind: Array,
    painted: NDArray[np.uint8],
    thickness: NDArray[np.uint8],
) -> None:
    """Paint the strokes of one layer into ``painted`` and their height into ``thickness``."""
    size, tried, radius = reference.shape[0], layer.strokes, layer.radius * scale
    xs, ys = random.integers(0, size, tried), random.integers(0, size, tried)
    wanted = need[ys, xs] >= layer.needed * random.uniform(0.5, 1.4, tried)
    if layer.radius <= 6:
        wanted &= behind[ys, xs] < 0.7
    xs, ys = xs[wanted], ys[wanted]
    count = len(xs)
    angles = angle[ys, xs] + random.normal(0, 0.16, count)
    lengths = radius * random.uniform(1.6, 3.4, count)
    widths = radius * random.uniform(0.55, 0.85, count)
    bends = random.normal(0, 0.12, count)
    heights = random.uniform(0, 254, count)
    colours = np.clip(reference[ys, xs] + random.normal(0, layer.uneven, (count, 3)), 0, 1) * 255
    along = np.array([-1, -0.92, -0.6, 0, 0.6, 0.92, 1])
    half = np.array([0.25, 0.7, 0.95, 1, 0.95, 0.7, 0.25])
    for i in range(count):
        x, bent = along * lengths[i], bends[i] * lengths[i] * along**2
        x = np.concatenate([x, x[::-1]])
        y = np.concatenate([bent + half * widths[i], (bent - half * widths[i])[::-1]])
        cos, sin = np.cos(angles[i]), np.sin(angles[i])
        outline = np.stack([xs[i] + x * cos - y * sin, ys[i] + x * sin + y * cos], axis=1)
        fixed = np.round(outline * (1 << _FIXED_BITS)).astype(np.int32)
        cv2.fillPoly(painted, [fixed], colours[i].tolist(), cv2.LINE_AA, _FIXED_BITS)
        cv2.fillPoly(thickness, [fixed], float(heights[i]), cv2.LINE_AA, _FIXED_BITS)
