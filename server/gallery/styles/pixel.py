"""Pixel art: large pixels of a small palette, dithered."""

from __future__ import annotations

import cv2
import numpy as np

from server.gallery.drawing import Array, blend, saturated
from server.gallery.lighting import backdrop, photograph
from server.gallery.portrait import Portrait
from server.gallery.styles.common import outlines

_PIXELS = 116
_COLOURS = 30
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 0.47


def pixel_art(portrait: Portrait) -> Array:
    """A portrait of an early computer game."""
    image = saturated(photograph(portrait, backdrop(portrait), 1.06), 1.15)
    ink = np.maximum(0.65 * outlines(portrait, 1.5), 0.5 * portrait.lashes)
    image = blend(image, np.array([0.10, 0.05, 0.10]), 0.8 * ink)
    image = np.clip(image + 0.35 * (image - cv2.GaussianBlur(image, (0, 0), 9)), 0, 1)
    lab = cv2.cvtColor(_small(image), cv2.COLOR_RGB2LAB)

    # Eyes and lips are few pixels: without more weight the palette would have no colours for them.
    rare = _small(np.maximum(portrait.eyes, portrait.lips)).ravel() > 0.3
    pixels = lab.reshape(-1, 3)
    sample = np.vstack([pixels, *[pixels[rare]] * 6]).astype(np.float32)
    cv2.setRNGSeed(5)
    ending = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 0.1)
    _, _, palette = cv2.kmeans(sample, _COLOURS, np.empty(0), ending, 3, cv2.KMEANS_PP_CENTERS)
    repeat = -(-_PIXELS // 4)
    dither = np.tile(_BAYER, (repeat, repeat))[:_PIXELS, :_PIXELS, None] * np.array([9, 3, 3])
    wanted = lab + dither * (0.35 + 0.65 * _small(1 - portrait.cover)[..., None])
    nearest = ((wanted.reshape(-1, 1, 3) - palette[None]) ** 2).sum(axis=-1).argmin(axis=1)
    drawn = cv2.cvtColor(palette[nearest].reshape(_PIXELS, _PIXELS, 3).astype(np.float32), cv2.COLOR_LAB2RGB)
    drawn = np.where(_small(portrait.glints)[..., None] > 0.35, 1, drawn)
    size = portrait.canvas.size
    large = cv2.resize(drawn.astype(np.float32), (size, size), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.clip(large, 0, 1), np.float32)


def _small(image: Array) -> Array:
    return cv2.resize(image.astype(np.float32), (_PIXELS, _PIXELS), interpolation=cv2.INTER_AREA)
