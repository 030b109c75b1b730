"""Charcoal and chalk on toned paper, and coloured pencils on white."""

from __future__ import annotations

import cv2
import numpy as np

from server.gallery.drawing import Array, blend, luminance, saturated, smoothstep, srgb
from server.gallery.lighting import photograph
from server.gallery.portrait import Part, Portrait
from server.gallery.styles.common import (
    edge_direction,
    features,
    ink_lines,
    normal_noise,
    outlines,
    page_scale,
    paper,
    streaks,
)

_CHARCOAL = np.array([0.105, 0.095, 0.09], np.float32)
_CHALK = np.array([0.97, 0.95, 0.90], np.float32)
_WHITE = np.array([0.985, 0.98, 0.965], np.float32)
_LEAD = np.array([0.16, 0.12, 0.13], np.float32)


def charcoal(portrait: Portrait) -> Array:
    """Charcoal with highlights of white chalk on buff paper."""
    canvas, size, scale = portrait.canvas, portrait.canvas.size, page_scale(portrait)
    image = photograph(portrait, np.full((size, size, 3), 0.30, np.float32))
    equalise = cv2.createCLAHE(1.6, (4, 4))
    grey = equalise.apply((luminance(image) * 255).astype(np.uint8)).astype(np.float32) / 255
    careful = features(portrait, 0.02, brows=True)
    random = np.random.default_rng(4)
    grain = paper(size, 5)
    angle = np.where(portrait.cover > 0.5, edge_direction(image, 8 * scale), np.pi * 0.30)
    angle = np.where(portrait.part == Part.HAIR, _strand_angle(portrait), angle)
    below = np.isin(portrait.part, (Part.NECK, Part.CLOTH))
    angle = np.where(below, np.pi * 0.62 + 0.25 * canvas.x, angle).astype(np.float32)
    fine = streaks(normal_noise(size, random, 0.9 * scale), angle, 20, 1.7 * scale)
    broad = streaks(normal_noise(size, random, 2.2 * scale), angle, 24, 2.2 * scale)

    away = np.hypot(canvas.x * 0.92, (canvas.y - 0.1) * 0.82) + 0.12 * paper(size, 21, 26)
    finished = 1 - smoothstep(0.95, 1.75, away)
    tone = np.clip(1 - grey / 0.80, 0, 1) ** 0.95 * portrait.cover * np.clip(finished + 0.15, 0, 1)
    behind = np.clip(0.30 + 0.20 * canvas.x - 0.1 * canvas.y, 0, 0.6) * (
        1 - canvas.blur(portrait.cover, 0.015)
    )
    tone = cv2.GaussianBlur((tone + behind * finished).astype(np.float32), (0, 0), 0.7 * scale)
    rub = 0.50 * grain + 0.62 * fine * (1 - 0.55 * careful) + 0.30 * broad
    # Grain shows most in middle tones: full black fills it, bare paper has none.
    midtones = np.clip(1.9 * tone * (1.25 - tone), 0, 1) * (1 - 0.35 * careful)
    deposit = np.clip(1.18 * tone - 0.03 + 0.20 * rub * midtones, 0, 1)
    deposit = 0.72 * deposit + 0.28 * smoothstep(0.10, 1.0, deposit)
    lines = ink_lines(grey, 1.15 * scale, 20, 0.60, 9)
    lines = np.maximum(lines, 0.75 * outlines(portrait, 0.8) * np.clip(0.75 + 0.25 * grain, 0, 1))
    lines *= np.clip(finished * 1.4, 0, 1) * np.clip(0.85 + 0.12 * grain, 0, 1)
    deposit = np.clip(np.maximum(deposit, lines), 0, 1)
    toned = srgb("#c9b79c") * (1 + 0.022 * grain)[..., None]
    picture = blend(toned, _CHARCOAL, 0.95 * deposit)

    chalk = smoothstep(0.66, 0.93, cv2.GaussianBlur(grey, (0, 0), 1.5 * scale)) * portrait.cover
    chalk = (
        chalk * (portrait.part != Part.CLOTH) * np.clip(0.62 + 0.40 * grain + 0.28 * fine, 0, 1) * finished
    )
    chalk = np.maximum(0.70 * chalk, portrait.glints)
    return np.clip(blend(picture, _CHALK, 0.82 * chalk), 0, 1)


def coloured_pencil(portrait: Portrait) -> Array:
    """Coloured pencils, hatched, fading out to white paper."""
    canvas, size, scale = portrait.canvas, portrait.canvas.size, page_scale(portrait)
    image = saturated(photograph(portrait, np.full((size, size, 3), 0.93, np.float32)), 1.15)
    careful = features(portrait, 0.02)
    random = np.random.default_rng(4)
    grain = paper(size, 5, 0.9)
    hatch = np.where(portrait.cover > 0.5, np.pi * 0.30 + 0.35 * canvas.x, np.pi * 0.30)
    hatch = np.where(portrait.part == Part.HAIR, _strand_angle(portrait), hatch)
    hatch = np.where(portrait.part == Part.CLOTH, np.pi * 0.62 + 0.3 * canvas.x, hatch).astype(np.float32)
    crossing = np.where(portrait.part == Part.HAIR, edge_direction(image, 9 * scale), hatch + 0.55)
    first = streaks(normal_noise(size, random, 1.15 * scale), hatch, 24, 1.8 * scale)
    second = streaks(normal_noise(size, random, 1.3 * scale), crossing, 20, 1.8 * scale)
    density = -np.log(np.clip(image, 0.03, 1))
    dark = density.mean(axis=-1)
    uneven = 0.22 * first + 0.16 * second * smoothstep(0.25, 0.7, dark) + 0.16 * grain
    uneven *= (1 - 0.7 * careful) * np.where(portrait.part == Part.HEAD, 0.72, 1)
    density = density * np.clip(1 + uneven, 0.12, 1.9)[..., None]
    single = np.stack([normal_noise(size, random, 2.4 * scale) for _ in range(3)], axis=-1)
    single = streaks(single, hatch, 20, 1.8 * scale)
    density = density * (1 + 0.055 * single * (1 - 0.7 * careful)[..., None])

    away = np.hypot(canvas.x * 0.72, (canvas.y - 0.1) * 0.78)
    strength = np.clip(1.15 - away + 0.10 * paper(size, 9, 30), 0, 1)
    strength = strength * np.clip(0.62 + 0.42 * first + 0.22 * grain, 0, 2) * 0.95
    behind = -np.log(srgb("#8fb0b8")) * strength[..., None]
    cover = cv2.GaussianBlur(portrait.cover, (0, 0), scale)[..., None]
    fade = 1 - smoothstep(1.18, 1.62, np.hypot(canvas.x * 0.55, (canvas.y - 0.05) * 0.86) + 0.06 * first)
    laid = density * cover * fade[..., None] * 1.06 + behind * (1 - cover)
    lines = 0.60 * outlines(portrait, 0.6) * np.clip(0.72 + 0.30 * grain, 0, 1)
    lines = np.maximum(ink_lines(luminance(image), 1.3 * scale, 18, 0.36, 7), lines) * fade
    lines = np.maximum(lines, 0.7 * portrait.lashes)
    picture = blend((_WHITE * np.exp(-laid)).astype(np.float32), _LEAD, (0.62 * lines).astype(np.float32))
    return np.clip(blend(picture, np.ones(3), portrait.glints), 0, 1)


def _strand_angle(portrait: Portrait) -> Array:
    return np.asarray(np.arctan2(portrait.flow[..., 1], portrait.flow[..., 0]), np.float32)
