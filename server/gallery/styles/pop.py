"""Pop art: loud colours, raster dots for half tones, heavy outlines."""

from __future__ import annotations

import cv2
import numpy as np

from server.gallery.drawing import Array, blend, luminance, smoothstep, srgb
from server.gallery.lighting import photograph
from server.gallery.person import EYE_X
from server.gallery.portrait import Part, Portrait
from server.gallery.styles.common import dots, ink_lines, outlines, page_scale

_INK = srgb("#1a0b2e")
_DIAGONAL = np.pi / 4


def pop_art(portrait: Portrait) -> Array:
    """A screen print in a handful of inks."""
    scale, part = page_scale(portrait), portrait.part
    bright = portrait.shade / np.quantile(portrait.shade[part == Part.HEAD], 0.90)
    bright = np.clip(cv2.GaussianBlur(bright.astype(np.float32), (0, 0), 4 * scale), 0, 1.4)
    spots = cv2.GaussianBlur(np.clip(portrait.sheen * 2.2, 0, 1), (0, 0), 3 * scale)
    picture = blend(_background(portrait), _skin(portrait, bright, spots), portrait.cover)
    picture = np.where((part == Part.HAIR)[..., None], _hair(portrait), picture)
    picture = np.where((part == Part.CLOTH)[..., None], _cloth(portrait, bright), picture)
    picture = np.where((part == Part.JEWEL)[..., None], srgb("#fff275"), picture)
    picture = _with_features(portrait, picture.astype(np.float32), spots)

    grey = (luminance(photograph(portrait)) ** 0.6).astype(np.float32)
    lines = ink_lines(cv2.bilateralFilter(grey, 0, 0.15, 3 * scale), 1.8 * scale, 20, 0.42, 10)
    lines = smoothstep(0.5, 0.9, lines * np.isin(part, (Part.HEAD, Part.EYE)))
    drawn = np.maximum(
        1.3 * np.maximum(portrait.lashes, portrait.mouth_line), smoothstep(0.3, 0.6, portrait.brows)
    )
    ink = np.maximum.reduce([outlines(portrait, 2.2) * (part != Part.JEWEL), lines, drawn])
    picture = blend(picture, _INK, np.clip(ink, 0, 1))
    return np.clip(blend(picture, np.ones(3), portrait.glints), 0, 1)


def _background(portrait: Portrait) -> Array:
    canvas = portrait.canvas
    right = smoothstep(-0.004, 0.004, canvas.x + 0.30 * canvas.y - 0.05)
    plain = blend(np.broadcast_to(srgb("#12b5b0"), portrait.colour.shape), srgb("#ffd23f"), right)
    dark = blend(np.broadcast_to(srgb("#0a8c93"), portrait.colour.shape), srgb("#ff9f1c"), right)
    amount = np.clip((canvas.y + 1.4) / 4.4, 0, 0.55)
    return blend(plain, dark, dots(canvas.size, 15 * page_scale(portrait), _DIAGONAL, amount))


def _skin(portrait: Portrait, bright: Array, spots: Array) -> Array:
    amount = 0.95 * (1 - smoothstep(0.60, 1.02, bright))
    raster = dots(portrait.canvas.size, 8.5 * page_scale(portrait), _DIAGONAL, amount)
    skin = blend(np.broadcast_to(srgb("#f7a072"), portrait.colour.shape), srgb("#e0607e"), raster)
    skin = blend(skin, srgb("#5b1f6b"), 1 - smoothstep(0.36, 0.40, bright))
    return blend(skin, srgb("#ffe3b8"), smoothstep(0.30, 0.36, spots) * (portrait.part <= Part.NECK))


def _hair(portrait: Portrait) -> Array:
    tone = cv2.GaussianBlur(luminance(portrait.lit), (0, 0), 1.6 * page_scale(portrait))
    low, high = np.quantile(tone[portrait.part == Part.HAIR], (0.60, 0.90))
    light = smoothstep(0.45, 0.6, smoothstep(low - 0.004, high, tone))
    return blend(np.broadcast_to(srgb("#221046"), portrait.colour.shape), srgb("#4a32a8"), light)


def _cloth(portrait: Portrait, bright: Array) -> Array:
    amount = 0.9 * (1 - smoothstep(0.5, 1.0, bright))
    raster = dots(portrait.canvas.size, 11 * page_scale(portrait), _DIAGONAL, amount)
    return blend(np.ones_like(portrait.colour), srgb("#e63946"), raster)


def _with_features(portrait: Portrait, picture: Array, spots: Array) -> Array:
    lips = blend(np.broadcast_to(srgb("#e5173f"), picture.shape), srgb("#a30d3a"), 0.9 * portrait.upper_lip)
    lips = blend(lips, srgb("#ff9db0"), smoothstep(0.12, 0.2, spots) * portrait.lower_lip)
    picture = blend(picture, lips, portrait.lips)
    lids = np.zeros_like(portrait.z)
    for side in (1, -1):
        upper, _ = portrait.person.lids(side)
        above = [(x + (x - side * EYE_X) * 0.12, y - 0.062) for x, y in reversed(upper)]
        lids = np.maximum(lids, portrait.canvas.shape([*upper, *above]))
    picture = blend(picture, srgb("#18a0c9"), 0.9 * lids * (1 - portrait.eyes))
    plain = np.clip(portrait.colour, 0, 1) ** (1 / 2.2)
    dark = (luminance(plain) < 0.14)[..., None]
    iris = np.where(dark, srgb("#150b2b"), srgb("#7a3b12") * 0.9 + plain * 0.4)
    eye = np.where((portrait.irises > 0.5)[..., None], iris, srgb("#fff8ee"))
    return np.where((portrait.part == Part.EYE)[..., None], eye, picture).astype(np.float32)
