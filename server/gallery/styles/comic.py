"""Comic: flat colours in steps of light, hatched shadows, bold ink, rays behind."""

from __future__ import annotations

import cv2
import numpy as np

from server.gallery.drawing import Array, blend, luminance, smoothstep, srgb
from server.gallery.lighting import photograph
from server.gallery.portrait import Part, Portrait
from server.gallery.styles.common import dots, ink_lines, outlines, page_scale, tones

_INK = srgb("#14131a")


def comic(portrait: Portrait) -> Array:
    """A panel of a comic."""
    scale = page_scale(portrait)
    bright = portrait.shade / np.quantile(portrait.shade[portrait.cover > 0.5], 0.90)
    bright = cv2.GaussianBlur(bright.astype(np.float32), (0, 0), 3.5 * scale)
    picture = blend(_rays(portrait), _inked_colours(portrait, bright), portrait.cover)
    ink = np.maximum(outlines(portrait, 1.7), 0.9 * _hatching(portrait, bright))
    grey = luminance(photograph(portrait))
    lines = ink_lines(cv2.bilateralFilter(grey, 0, 0.12, 2.5 * scale), 1.5 * scale, 20, 0.55, 10)
    lines = lines * np.isin(portrait.part, (Part.HEAD, Part.EYE, Part.BROW)) * (1 - 0.7 * portrait.lips)
    drawn = 1.2 * np.maximum(portrait.lashes, portrait.mouth_line)
    ink = np.clip(np.maximum.reduce([ink, smoothstep(0.45, 0.85, lines), drawn]), 0, 1)
    return np.clip(blend(blend(picture, _INK, ink), np.ones(3), portrait.glints), 0, 1)


def _inked_colours(portrait: Portrait, bright: Array) -> Array:
    canvas, scale, part = portrait.canvas, page_scale(portrait), portrait.part
    level = tones(bright, (0.34, 0.62, 0.99), (0.40, 0.70, 1.0, 1.13), 0.018)
    # On the neck only the chin's shadow counts: collar bones would be stains.
    throat = 0.70 + 0.30 * smoothstep(0.46, 0.50, bright)
    level = np.where(part == Part.NECK, throat, level)
    plain = cv2.medianBlur((np.clip(portrait.colour, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8), 5)
    plain = cv2.bilateralFilter(plain.astype(np.float32) / 255, 0, 0.08, 4 * scale)
    skin = srgb(portrait.person.skin)
    fills = {Part.HEAD: skin, Part.NECK: skin, Part.CLOTH: srgb("#e0483c")}
    fills |= {Part.HAIR: srgb("#1c2233"), Part.GLASSES: srgb("#232733")}
    base = plain
    for which, colour in fills.items():
        base = np.where((part == which)[..., None], colour, base)
    base = blend(base, srgb("#c86a60"), portrait.lips)
    base = blend(base, srgb("#1c1a20"), portrait.brows)
    base = np.where((part == Part.EYE)[..., None], plain * 1.08, base)
    shadow = np.array([0.80, 0.66, 0.74], np.float32)
    dark = np.clip((1 - level) / 0.6, 0, 1)[..., None]
    colour = base * (1 - dark) + base * shadow * dark
    colour = np.where(np.isin(part, (Part.HAIR, Part.GLASSES))[..., None], base, colour)
    hair = part == Part.HAIR
    sheen = portrait.sheen / (np.quantile(portrait.sheen[hair], 0.995) + 1e-6)
    sheen = smoothstep(0.60, 0.66, cv2.GaussianBlur(sheen.astype(np.float32), (0, 0), 2 * scale)) * hair
    colour = blend(colour.astype(np.float32), srgb("#5d7fb5"), sheen)
    blush = np.clip(canvas.bumps(0.44, 0.20, 0.13, 0.10), 0, 1) * (part == Part.HEAD)
    return blend(colour, srgb("#f07a5a"), 0.16 * blush)


def _rays(portrait: Portrait) -> Array:
    canvas, scale = portrait.canvas, page_scale(portrait)
    ray = smoothstep(-0.05, 0.05, np.sin(np.arctan2(canvas.y + 0.1, canvas.x) * 14))
    rays = blend(np.broadcast_to(srgb("#ffb52e"), portrait.colour.shape), srgb("#ffd23c"), ray)
    away = np.clip((np.hypot(canvas.x, canvas.y - 0.1) - 0.8) / 1.1, 0, 0.9)
    # The square undoes the root in dots(): here the radius, not the area, grows outwards.
    spots = dots(canvas.size, 7.5 * scale, np.pi / 4, (away * 0.5 / 0.72) ** 2, 1.0)
    return blend(rays, srgb("#f0762a"), 0.55 * spots)


def _hatching(portrait: Portrait, bright: Array) -> Array:
    """Parallel strokes in the deeper shadow of skin and cloth."""
    scale = page_scale(portrait)
    x, y = np.meshgrid(*(np.arange(portrait.canvas.size, dtype=np.float32),) * 2)
    across, along = (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)
    pitch = 6.5 * scale
    line = np.abs((across + 1.5 * np.sin(along * 0.05)) % pitch - pitch / 2)
    strokes = 1 - smoothstep(0.6 * scale, 1.5 * scale, line)
    return strokes * (1 - smoothstep(0.44, 0.50, bright)) * (portrait.part <= Part.CLOTH) * portrait.cover
