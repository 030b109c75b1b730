"""What styles share: paper, the run of brush and pencil, outlines, raster dots, steps of tone."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from server.gallery.drawing import Array, luminance, smoothstep
from server.gallery.portrait import Part, Portrait

#: Widths in styles are in pixels of a page of this size.
PAGE = 1024


def page_scale(portrait: Portrait) -> float:
    """Factor of this portrait's pixels to those of a page."""
    return portrait.canvas.size / PAGE


def normal_noise(size: int, random: np.random.Generator, sigma: float = 0.0) -> Array:
    """White noise ``[size, size]``, blurred by ``sigma`` pixels."""
    noise = random.standard_normal((size, size)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), sigma) if sigma else noise


def paper(size: int, seed: int, coarseness: float = 1.0) -> Array:
    """The grain of paper: noise of several sizes, zero mean and unit deviation."""
    random = np.random.default_rng(seed)
    grain = np.zeros((size, size), np.float32)
    for sigma, weight in ((0.7, 0.5), (1.4, 0.8), (3.0, 0.6), (9.0, 0.35)):
        pixels = sigma * coarseness * size / PAGE
        shrink = max(1, int(pixels / 3))
        layer = normal_noise(-(-size // shrink), random, pixels / shrink)
        if shrink > 1:
            layer = cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC)
        grain += weight * layer / layer.std()
    return np.asarray(grain / grain.std(), np.float32)


def wobble(size: int, seed: int, amount: float, width: float) -> Array:
    """Displacements ``[size, size, 2]`` of a loose hand: deviation and smoothness in pixels."""
    random = np.random.default_rng(seed)
    layers = []
    for _ in range(2):
        layer = normal_noise(size // 4, random, width / 4)
        layer = cv2.resize(layer, (size, size), interpolation=cv2.INTER_CUBIC)
        layers.append(layer / layer.std() * amount)
    return np.stack(layers, axis=-1).astype(np.float32)


def displaced(image: Array, offsets: Array) -> Array:
    """The image read at pixels moved by ``offsets`` ``[size, size, 2]``."""
    x, y = np.meshgrid(*(np.arange(image.shape[0], dtype=np.float32),) * 2)
    return cv2.remap(
        image, x + offsets[..., 0], y + offsets[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def edge_direction(image: Array, sigma: float) -> Array:
    """Angle along edges of each pixel, from the structure tensor smoothed by ``sigma`` pixels."""
    grey = cv2.GaussianBlur(luminance(image), (0, 0), 1.5)
    dx, dy = (cv2.Sobel(grey, cv2.CV_32F, k, 1 - k) for k in (1, 0))
    xx, xy, yy = (cv2.GaussianBlur(product, (0, 0), sigma) for product in (dx * dx, dx * dy, dy * dy))
    return np.asarray(0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2, np.float32)


def streaks(noise: Array, angle: Array, steps: int, step: float) -> Array:
    """Noise (with or without channels) smeared along angles: line integral convolution, unit deviation."""
    size = noise.shape[0]
    start_x, start_y = np.meshgrid(*(np.arange(size, dtype=np.float32),) * 2)
    doubled = np.stack([np.cos(2 * angle), np.sin(2 * angle)], axis=-1).astype(np.float32)
    total = noise.copy()
    for sign in (1, -1):
        x, y = start_x.copy(), start_y.copy()
        ahead_x, ahead_y = sign * np.cos(angle), sign * np.sin(angle)
        for _ in range(steps):
            seen = cv2.remap(doubled, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            # Half the angle, without trigonometry.
            cosine = seen[..., 0] / (np.hypot(seen[..., 0], seen[..., 1]) + 1e-6)
            next_x = np.sqrt(np.clip((1 + cosine) / 2, 0, 1))
            next_y = np.copysign(np.sqrt(np.clip((1 - cosine) / 2, 0, 1)), seen[..., 1])
            turned = np.where(next_x * ahead_x + next_y * ahead_y < 0, -1, 1).astype(np.float32)
            ahead_x, ahead_y = next_x * turned, next_y * turned
            x += step * ahead_x
            y += step * ahead_y
            total += cv2.remap(noise, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(total / total.std(), np.float32)


def ink_lines(grey: Array, sigma: float, gain: float, threshold: float, hardness: float) -> Array:
    """Dark lines 0..1 by an extended difference of Gaussians (Winnemoeller, Kyprianidis and Olsen, 2012)."""
    near, far = (cv2.GaussianBlur(grey, (0, 0), sigma * factor) for factor in (1.0, 1.6))
    sharpened = (1 + gain) * near - gain * far
    light = np.where(sharpened >= threshold, 1, 1 + np.tanh(hardness * (sharpened - threshold)))
    return np.asarray(1 - light, np.float32)


def outlines(portrait: Portrait, width: float) -> Array:
    """Lines 0..1 where parts meet and where depth jumps; ``width`` about 1 for a fine one."""
    scale, canvas = page_scale(portrait), portrait.canvas
    relief = cv2.GaussianBlur(np.maximum(portrait.z, -0.9), (0, 0), scale)
    slopes = [cv2.Sobel(relief, cv2.CV_32F, k, 1 - k) / 8 * canvas.scale for k in (1, 0)]
    lines = smoothstep(2.5, 7, np.hypot(*slopes))
    parts = portrait.part.copy()
    parts[np.isin(parts, (Part.BROW, Part.EYE, Part.NECK))] = Part.HEAD
    # A beard has no border to draw: its hairs make it.
    beard = (parts == Part.HAIR) & (np.abs(canvas.x) < 0.66) & (canvas.y > 0.2) & portrait.head
    parts[beard] = Part.HEAD
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    meeting = cv2.dilate(parts, near) != cv2.erode(parts, near)
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(1, int(2 * width * scale)),) * 2)
    drawn = cv2.dilate(np.maximum(lines, meeting.astype(np.float32)), pen)
    return cv2.GaussianBlur(drawn, (0, 0), 0.9 * scale)


def features(portrait: Portrait, softness: float, *, brows: bool = False) -> Array:
    """Where small things matter (eyes and lips, and brows if wanted), 0..1: styles are careful there."""
    mask = np.maximum(portrait.eyes, portrait.lips)
    if brows:
        mask = np.maximum(mask, portrait.brows)
    return np.clip(portrait.canvas.blur(mask, softness) * 1.5, 0, 1)


def dots(size: int, pitch: float, angle: float, amount: Array, softness: float = 0.9) -> Array:
    """A raster of round dots 0..1 that cover about ``amount`` of the page; pitch in pixels."""
    x, y = np.meshgrid(*(np.arange(size, dtype=np.float32),) * 2)
    across = x * np.cos(angle) + y * np.sin(angle)
    down = -x * np.sin(angle) + y * np.cos(angle)
    distance = np.hypot(across % pitch - pitch / 2, down % pitch - pitch / 2)
    radius = 0.72 * pitch * np.sqrt(np.clip(amount, 0, 1))
    return 1 - smoothstep(0, 1, (distance - radius + softness) / (2 * softness))


def tones(value: Array, edges: Sequence[float], levels: Sequence[float], softness: float) -> Array:
    """Steps of tone: ``levels[k]`` between ``edges[k - 1]`` and ``edges[k]``."""
    stepped = np.full_like(value, levels[0])
    for edge, below, above in zip(edges, levels, levels[1:], strict=False):
        stepped += (above - below) * smoothstep(edge - softness, edge + softness, value)
    return stepped
