"""Clay: a bust of one material, with finger prints and carved eyes."""

from __future__ import annotations

import numpy as np

from server.gallery.drawing import Array, blend, linear, smoothstep
from server.gallery.lighting import Lamp, light, photograph
from server.gallery.person import IRIS_X, IRIS_Y
from server.gallery.portrait import Part, Portrait
from server.gallery.styles.common import features, paper

_LAMP = Lamp(
    key=(-0.55, -0.55, 0.60),
    key_colour=(1.0, 0.95, 0.88),
    fill_colour=(0.18, 0.22, 0.30),
    ambient=0.22,
    scattering=0.45,
    skin_all_over=True,
)


def clay(portrait: Portrait) -> Array:
    """A terracotta bust; changes the portrait's material and relief and lights it anew."""
    canvas, random = portrait.canvas, np.random.default_rng(6)
    tone = 1 + 0.03 * paper(canvas.size, 4, 8)
    tone = tone * np.where(portrait.irises > 0.5, 0.82, 1)
    portrait.colour = (linear("#c88263") * tone[..., None]).astype(np.float32)
    prints = np.zeros_like(portrait.z)
    for _ in range(240):
        x, y, radius = random.uniform(-1.7, 1.7), random.uniform(-1.5, 1.9), random.uniform(0.07, 0.13)
        distance = np.hypot((canvas.x - x) * random.uniform(0.8, 1.2), canvas.y - y)
        prints += 0.0009 * np.sin(distance * 2 * np.pi / 0.0125) * np.exp(-2.5 * (distance / radius) ** 2)
    uneven = 0.0014 * canvas.noise(random, 0.03) + 0.00025 * canvas.noise(random, 0.008) + 0.35 * prints
    portrait.z = portrait.z + uneven * (1 - 0.8 * features(portrait, 0.02))
    pupils = _carve(portrait)

    portrait.part = np.where(portrait.cover > 0.5, Part.HEAD, Part.NONE).astype(np.uint8)
    portrait.shine, portrait.gloss = np.full_like(portrait.z, 0.16), np.full_like(portrait.z, 14)
    portrait.glints = np.zeros_like(portrait.z)
    light(portrait, _LAMP)
    dark = np.maximum.reduce([0.75 * pupils, 0.55 * portrait.mouth_line, 0.30 * portrait.lashes])
    portrait.lit = blend(portrait.lit, np.zeros(3), 0.8 * dark)
    return photograph(portrait)


def _carve(portrait: Portrait) -> Array:
    """Cut rims of irises, pupils, lids and brows into the relief; returns the pupils."""
    canvas = portrait.canvas
    pupils = np.zeros_like(portrait.z)
    for side in (1, -1):
        upper, lower = portrait.person.lids(side)
        opening = portrait.eyes * (canvas.x * side > 0)
        distance = np.hypot(canvas.x - side * IRIS_X, canvas.y - IRIS_Y)
        pupils = np.maximum(pupils, opening * (1 - smoothstep(0.026, 0.042, distance)))
        rim = 0.014 * np.exp(-(((distance - 0.082) / 0.008) ** 2))
        portrait.z = portrait.z - opening * (rim + 0.055 * (1 - smoothstep(0.026, 0.040, distance)))
        upper_rim = canvas.stroke(upper, [0.006, 0.03, 0.034, 0.034, 0.03, 0.008], 0.006)
        lower_rim = canvas.stroke(lower, [0.004, 0.022, 0.022, 0.02, 0.006], 0.006)
        portrait.z = portrait.z + 0.018 * upper_rim + 0.010 * lower_rim
    portrait.z = (portrait.z + 0.022 * canvas.blur(portrait.brows, 0.008)).astype(np.float32)
    return pupils
