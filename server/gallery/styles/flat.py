"""Flat: a poster of a few plain shapes, each with one shadow."""

from __future__ import annotations

import cv2
import numpy as np

from server.gallery.drawing import Array, blend, smoothstep, srgb
from server.gallery.person import EYE_X, IRIS_X, IRIS_Y
from server.gallery.portrait import Part, Portrait
from server.gallery.styles.common import normal_noise, page_scale

_DARK = srgb("#20120e")


def flat(portrait: Portrait) -> Array:
    """A flat illustration."""
    canvas, scale = portrait.canvas, page_scale(portrait)
    picture = blend(_background(portrait), _skin(portrait), portrait.cover)
    picture = np.where((portrait.part == Part.CLOTH)[..., None], _cloth(portrait), picture).astype(np.float32)
    picture = _with_mouth_and_nose(portrait, picture)
    for side in (1, -1):
        picture = _with_eye(portrait, picture, side)
    brows = smoothstep(0.30, 0.42, canvas.blur(portrait.brows, 0.008))
    picture = blend(picture, srgb("#2b1a15"), brows)
    glints = cv2.GaussianBlur((portrait.glints > 0.3).astype(np.float32), (0, 0), 0.8 * scale)
    picture = blend(picture, np.ones(3), glints)
    grain = normal_noise(canvas.size, np.random.default_rng(2), 0.8)
    return np.asarray(np.clip(picture * (1 + 0.012 * grain)[..., None], 0, 1), np.float32)


def _brightness(portrait: Portrait, part: Part, softness: float) -> Array:
    bright = portrait.shade / np.quantile(portrait.shade[portrait.part == part], 0.9)
    return portrait.canvas.blur(bright.astype(np.float32), softness)


def _background(portrait: Portrait) -> Array:
    canvas = portrait.canvas
    disc = 1 - smoothstep(1.44, 1.447, np.hypot(canvas.x, (canvas.y - 0.2) * 0.97))
    return blend(np.broadcast_to(srgb("#fbe9dc"), portrait.colour.shape), srgb("#f4a987"), disc)


def _skin(portrait: Portrait) -> Array:
    shadow = 1 - smoothstep(0.60, 0.615, _brightness(portrait, Part.HEAD, 0.022))
    skin = blend(np.broadcast_to(srgb("#e3a57f"), portrait.colour.shape), srgb("#c67f5f"), shadow)
    cheeks = np.clip(portrait.canvas.bumps(0.45, 0.22, 0.13, 0.10), 0, 1)
    return blend(skin, srgb("#dd6a55"), 0.26 * smoothstep(0.50, 0.54, cheeks))


def _cloth(portrait: Portrait) -> Array:
    bright = _brightness(portrait, Part.CLOTH, 0.012)
    cloth = np.broadcast_to(srgb("#2a7d87"), portrait.colour.shape)
    cloth = blend(cloth, srgb("#1f626e"), 1 - smoothstep(0.66, 0.69, bright))
    cloth = blend(cloth, srgb("#3f98a0"), smoothstep(1.02, 1.05, bright))
    return blend(cloth, srgb("#174b58"), 1 - smoothstep(0.36, 0.39, bright))


def _with_mouth_and_nose(portrait: Portrait, picture: Array) -> Array:
    canvas = portrait.canvas
    picture = blend(picture, srgb("#b8453f"), portrait.lips)
    picture = blend(picture, srgb("#97332f"), portrait.upper_lip)
    light = (canvas.bump(-0.03, 0.64, 0.10, 0.020) > 0.55).astype(np.float32)
    light = cv2.GaussianBlur(light, (0, 0), 0.8 * page_scale(portrait)) * portrait.lower_lip
    picture = blend(picture, srgb("#e88a7c"), 0.45 * light)
    picture = blend(picture, srgb("#5d1f22"), smoothstep(0.3, 0.7, portrait.mouth_line))
    nostrils = np.clip(canvas.bumps(0.070, 0.318, 0.030, 0.013, 0.28), 0, 1)
    picture = blend(picture, srgb("#8d4a38"), smoothstep(0.42, 0.5, nostrils))
    ridge = smoothstep(0.5, 0.55, canvas.bump(-0.02, 0.10, 0.022, 0.17))
    return blend(picture, srgb("#f2bf98"), 0.5 * ridge)


def _with_eye(portrait: Portrait, picture: Array, side: int) -> Array:
    canvas = portrait.canvas
    upper, _ = portrait.person.lids(side)
    opening = portrait.eyes * (canvas.x * side > 0)
    picture = blend(picture, srgb("#fff7f0"), opening)
    distance = np.hypot(canvas.x - side * IRIS_X, canvas.y - IRIS_Y)
    picture = blend(picture, srgb("#6b3d22"), opening * (1 - smoothstep(0.084, 0.088, distance)))
    picture = blend(picture, _DARK, opening * (1 - smoothstep(0.040, 0.044, distance)))
    lowered = [(x, y + 0.012) for x, y in upper]
    shadow = canvas.stroke(lowered, [0.02, 0.04, 0.045, 0.045, 0.04, 0.02])
    picture = blend(picture, _DARK, 0.22 * opening * shadow)
    crease = [(x + (x - side * EYE_X) * 0.12, y - 0.058) for x, y in upper]
    fold = canvas.stroke(crease, [0.002, 0.012, 0.014, 0.013, 0.010, 0.002])
    picture = blend(picture, srgb("#a5654a"), 0.75 * fold)
    line = [*((x, y - 0.004) for x, y in upper), (side * 0.53, -0.165)]
    wing = canvas.stroke(line, [0.010, 0.022, 0.026, 0.028, 0.026, 0.018, 0.002])
    return blend(picture, _DARK, wing)
