"""Watercolour: glazes with dark rims where they dried, pigment in the paper's grain, a loose wash behind."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from server.gallery.drawing import Array, blend, luminance, saturated, smoothstep, srgb
from server.gallery.lighting import photograph
from server.gallery.portrait import Part, Portrait
from server.gallery.styles.common import (
    displaced,
    features,
    ink_lines,
    outlines,
    page_scale,
    paper,
    wobble,
)

_WHITE = np.array([0.985, 0.975, 0.95], np.float32)
_GLAZES = (0.0, 0.12, 0.30, 0.55, 0.90, 1.4, 2.1)


def watercolour(portrait: Portrait) -> Array:
    """A watercolour on rough paper, over a light pencil drawing.

    Colours are densities of pigment that add up (Beer and Lambert), not lights.
    """
    canvas, size, scale = portrait.canvas, portrait.canvas.size, page_scale(portrait)
    careful = features(portrait, 0.02)
    loose = (1 - 0.85 * careful)[..., None]
    hand = (wobble(size, 6, 2.4 * scale, 14 * scale) + wobble(size, 7, 0.5 * scale, 4 * scale)) * loose
    image = photograph(portrait, np.full((size, size, 3), 0.95, np.float32))
    simple = cv2.edgePreservingFilter(
        (image * 255).astype(np.uint8), flags=1, sigma_s=30 * scale, sigma_r=0.32
    )
    detail = cv2.bilateralFilter(image, 0, 0.07, 3 * scale)
    base = displaced(blend(simple.astype(np.float32) / 255, detail, careful), hand)
    density = _glazed(_density(saturated(base, 1.10, 0.02)), careful, scale)

    blots = 0.55 * paper(size, 12, 22) + 0.25 * paper(size, 13, 7)
    cover = displaced(cv2.GaussianBlur(portrait.cover, (0, 0), 1.2 * scale), hand * 1.2)
    fade = 1 - smoothstep(1.22, 1.50, np.hypot(canvas.x * 0.70, (canvas.y - 0.05) * 0.88) + 0.07 * blots)
    kept = np.clip(cv2.GaussianBlur(cover, (0, 0), 2 * scale), 0, 1)
    wash = _wash(portrait, blots, scale) * (1 - kept)[..., None]
    pigment = density * (cover * fade)[..., None] + wash
    rough = np.clip(1 - cover * 0.75 + 0.25 * (portrait.part == Part.HAIR), 0.18, 1) * (1 - 0.5 * careful)
    grain = paper(size, 5)
    pigment = pigment * (1 + 0.13 * grain * rough)[..., None]
    pigment = pigment * (1 + 0.09 * paper(size, 15, 26) * (1 - careful))[..., None]
    picture = _WHITE * np.exp(-0.98 * pigment)

    pencil = ink_lines(displaced(luminance(detail), hand * 0.5), 1.4 * scale, 16, 0.34, 6)
    sketch = 0.6 * displaced(outlines(portrait, 0.5), hand * 0.4) * np.clip(0.55 + 0.45 * grain, 0, 1)
    picture = picture * (1 - 0.42 * np.maximum(pencil, sketch) * fade)[..., None]
    slopes = [cv2.Sobel(grain, cv2.CV_32F, k, 1 - k) / 8 for k in (1, 0)]
    return np.asarray(np.clip(picture * (1 + 0.05 * (slopes[0] + slopes[1]))[..., None], 0, 1), np.float32)


def _density(image: Array) -> Array:
    return np.asarray(-np.log(np.clip(image, 0.03, 1)), np.float32)


def _glazed(density: Array, careful: Array, scale: float) -> Array:
    """Density gathered into glazes laid over each other, each darker at its rim."""
    size = density.shape[0]
    whole = density.mean(axis=-1)
    uneven = whole * (1 + 0.035 * paper(size, 8, 14) + 0.05 * paper(size, 9, 24))
    laid, rim = np.zeros_like(whole), np.zeros_like(whole)
    for low, high in itertools.pairwise(_GLAZES):
        glaze = smoothstep(-0.5, 0.5, (uneven - (low + high) / 2) / (0.16 * (high - low) + 0.02))
        laid += (high - low) * glaze
        dried = cv2.GaussianBlur(glaze, (0, 0), scale) - cv2.GaussianBlur(glaze, (0, 0), 4.5 * scale)
        rim += np.clip(dried, 0, 1) * (high - low)
    wanted = 0.6 * laid + 0.4 * whole + 0.9 * rim * (1 - 0.5 * careful)
    return np.asarray(density * (wanted / (whole + 1e-3))[..., None], np.float32)


def _wash(portrait: Portrait, blots: Array, scale: float) -> Array:
    """The background: one wet wash of two colours with an uneven border."""
    canvas, size = portrait.canvas, portrait.canvas.size
    inner, outer = (srgb(code) for code in portrait.person.background)
    mixed = np.clip(0.5 + 0.35 * paper(size, 11, 40) + 0.25 * canvas.y, 0, 1)
    colour = blend(np.broadcast_to(inner, (size, size, 3)), outer, mixed)
    away = np.hypot(canvas.x * 0.86, (canvas.y - 0.02) * 0.80) + 0.11 * blots
    area = 1 - smoothstep(1.30, 1.36, away)
    rim = cv2.GaussianBlur(area, (0, 0), 1.2 * scale) - cv2.GaussianBlur(area, (0, 0), 7 * scale)
    settled = 1 + 0.25 * paper(size, 14, 18) + 0.10 * blots
    density = -np.log(np.clip(colour, 0.05, 1)) * 1.25 * (settled * area)[..., None]
    return np.asarray(np.clip(density * (1 + 1.3 * np.clip(rim, 0, 1)[..., None]), 0, 9), np.float32)
