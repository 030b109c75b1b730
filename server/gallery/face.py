"""Draws a sitter's face onto a portrait: ears, head, skin, eyes, lips and brows."""

from __future__ import annotations

import numpy as np

from server.gallery.anatomy import head_relief
from server.gallery.drawing import Array, blend, curve, fill_polygon, linear, mirrored, ribbon, smoothstep
from server.gallery.person import EYE_X, IRIS_RADIUS, IRIS_X, IRIS_Y, MOUTH_Y
from server.gallery.portrait import Part, Portrait


def draw_face(portrait: Portrait) -> None:
    """Everything of the head but hair and what is worn."""
    _ears(portrait)
    eyeball = _head(portrait)
    _complexion(portrait)
    _eyes(portrait, eyeball)
    _brows(portrait)


def _ears(portrait: Portrait) -> None:
    canvas, edge = portrait.canvas, 0.715 * portrait.person.wide
    colour = linear(portrait.person.skin) * np.array([1.0, 0.86, 0.84], np.float32)
    outline = [(-0.06, -0.22), (0.03, -0.29), (0.115, -0.23), (0.125, -0.08)]
    outline += [(0.085, 0.10), (0.05, 0.24), (0.0, 0.31), (-0.06, 0.22)]
    shell = [(0.0, -0.16), (0.07, -0.2), (0.085, -0.08), (0.045, 0.08), (0.0, 0.12)]
    ridge = [(0.005, -0.1), (0.05, -0.06), (0.03, 0.06)]
    for side in (1, -1):

        def placed(points: list[tuple[float, float]], side: int = side) -> list[tuple[float, float]]:
            return mirrored([(x + edge, y) for x, y in points], side)

        mask = canvas.shape(placed(outline))
        z = -0.05 + 0.13 * (1 - np.exp(-canvas.inside(mask) / 0.03))
        z = z - 0.10 * canvas.shape(placed(shell), 0.018)
        z = z + 0.05 * canvas.stroke(placed(ridge), [0.015, 0.03, 0.015], 0.012)
        portrait.put(mask, z, colour, Part.HEAD, 0.2, 16)
        portrait.ears = np.maximum(portrait.ears, mask)


def _head(portrait: Portrait) -> Array:
    """The head with lids, lips and wrinkles; returns the relief of the eyeballs."""
    canvas, person = portrait.canvas, portrait.person
    z, inside = head_relief(canvas, person)
    for side in (1, -1):
        upper, lower = person.lids(side)
        opening = canvas.polygon(np.vstack([curve(upper, closed=False), curve(lower, closed=False)]))
        portrait.eyes = np.maximum(portrait.eyes, opening)
    ball = 1 - ((np.abs(canvas.x) - EYE_X) / 0.185) ** 2 - ((canvas.y + 0.135) / 0.135) ** 2
    bulge = (0.075 * np.clip(ball, 0, 1) ** 0.7).astype(np.float32)
    eyeball = z + bulge - 0.03
    z = z + canvas.blur(bulge, 0.008)
    for side in (1, -1):
        _, lower = person.lids(side)
        fold = canvas.stroke(person.crease(side), [0.002, 0.022, 0.026, 0.024, 0.02, 0.008], 0.010)
        z = z - 0.030 * (1 - 0.8 * person.lid) * fold
        below = [(x + (x - side * EYE_X) * 0.12, y + 0.052) for x, y in lower]
        z = z - 0.016 * (0.6 + person.age) * canvas.stroke(below, [0.004, 0.02, 0.02, 0.02, 0.004], 0.016)
    z = z - 0.055 * portrait.eyes  # the eyeball lies behind the lids
    z = _with_lips(portrait, z)
    if person.age > 0:
        z = z - person.age * _wrinkles(portrait)
    portrait.head = inside
    edge = np.clip((canvas.blur(inside.astype(np.float32), 0.0025) - 0.25) * 2, 0, 1)
    portrait.put(edge, np.where(inside, z, portrait.z), linear(person.skin), Part.HEAD, 0.30, 22)
    return eyeball


def _with_lips(portrait: Portrait, z: Array) -> Array:
    canvas, person = portrait.canvas, portrait.person
    line, upper, lower = person.mouth()
    meeting = curve(line, closed=False)
    portrait.upper_lip = canvas.polygon(np.vstack([curve(upper, closed=False), meeting[::-1]]))
    portrait.lower_lip = canvas.polygon(np.vstack([meeting, curve(lower, closed=False)]))
    portrait.lips = np.maximum(portrait.upper_lip, portrait.lower_lip)
    z = z + 0.85 * canvas.blur(np.sqrt(canvas.inside(portrait.upper_lip) * 0.030), 0.012)
    z = z + 0.95 * canvas.blur(np.sqrt(canvas.inside(portrait.lower_lip) * 0.045), 0.014)
    z = z - 0.05 * canvas.stroke(line, [0.004, 0.016, 0.02, 0.022, 0.02, 0.016, 0.004], 0.008)
    corner = 0.262 * person.mouth_width + 0.02
    z = z - 0.03 * canvas.bumps(corner, MOUTH_Y - 0.03 * person.smile, 0.025, 0.03)
    return z - 0.045 * canvas.bump(0, 0.715, 0.13, 0.03)


def _wrinkles(portrait: Portrait) -> Array:
    """Depth of the lines of an old face."""
    stroke = portrait.canvas.stroke
    depth = np.zeros_like(portrait.z)
    for y, strength in ((-0.52, 0.8), (-0.62, 1.0), (-0.72, 0.7)):
        line = [(-0.38, y + 0.02), (-0.2, y - 0.015), (0.0, y + 0.01), (0.2, y - 0.012), (0.38, y + 0.02)]
        depth += 0.012 * strength * stroke(line, [0.002, 0.014, 0.016, 0.014, 0.002], 0.008)
    for side in (1, -1):
        for k in range(4):  # crow's feet
            turn, y = -0.5 + 0.32 * k, -0.12 + 0.02 * k
            line = [
                (0.475, -0.12 + 0.015 * k),
                (0.475 + 0.07 * np.cos(turn * 0.7), y + 0.06 * np.sin(turn)),
                (0.475 + 0.14 * np.cos(turn), y + 0.12 * np.sin(turn)),
            ]
            depth += 0.012 * stroke(mirrored(line, side), [0.012, 0.01, 0.001], 0.006)
        bag = [(0.17, -0.02), (0.25, 0.035), (0.36, 0.03), (0.44, -0.02)]
        depth += 0.02 * stroke(mirrored(bag, side), [0.004, 0.018, 0.018, 0.004], 0.014)
        frown = [(0.055, -0.36), (0.05, -0.28), (0.065, -0.24)]
        depth += 0.007 * stroke(mirrored(frown, side), [0.003, 0.015, 0.003], 0.008)
        jowl = [(0.31, 0.60), (0.335, 0.72), (0.31, 0.84)]
        depth += 0.02 * stroke(mirrored(jowl, side), [0.004, 0.02, 0.003], 0.02)
    return depth


def _complexion(portrait: Portrait) -> None:
    """Redness, shadows, freckles, pores, and the colour of the lips."""
    canvas, person, paint = portrait.canvas, portrait.person, portrait.paint
    bump, bumps = canvas.bump, canvas.bumps
    skin, head = linear(person.skin), portrait.head.astype(np.float32)
    red = skin * np.array([1.05, 0.62, 0.58], np.float32)
    dark = skin * np.array([0.62, 0.50, 0.52], np.float32)
    paint(np.clip(bumps(0.43, 0.16, 0.16, 0.13), 0, 1) * head, red, 0.45 * person.blush)
    paint(bump(0, 0.24, 0.12, 0.09) * head, red, 0.40 * person.blush)
    paint(bump(0, 0.88, 0.14, 0.08) * head, red, 0.15 * person.blush)
    paint(np.clip(bumps(0.30, -0.13, 0.17, 0.10), 0, 1) * head, dark, 0.16 + 0.14 * person.makeup)
    rings = np.clip(bumps(0.28, 0.0, 0.13, 0.045), 0, 1) * head
    paint(rings, skin * np.array([0.72, 0.58, 0.66], np.float32), 0.30 * (0.6 + person.age))
    if person.freckles:
        mask = _freckles(portrait) * head * (1 - portrait.lips) * (1 - portrait.eyes)
        paint(mask, skin * np.array([0.66, 0.45, 0.33], np.float32), 0.75)
    blotches, pores = canvas.noise(portrait.random, 0.05), canvas.noise(portrait.random, 0.006)
    is_skin = portrait.part <= Part.NECK
    portrait.colour *= np.where(is_skin, 1 + 0.018 * blotches + 0.014 * pores, 1)[..., None]
    portrait.z = portrait.z + np.where(portrait.head, 0.00028 * pores, 0).astype(np.float32)
    lip = linear(person.lip)
    paint(canvas.blur(portrait.lips, 0.004), lip, 0.9)
    paint(canvas.blur(portrait.upper_lip, 0.004), lip * 0.72, 0.5)
    portrait.shine = np.where(portrait.lips > 0.5, 0.45, portrait.shine).astype(np.float32)
    portrait.gloss = np.where(portrait.lips > 0.5, 40, portrait.gloss).astype(np.float32)


def _freckles(portrait: Portrait) -> Array:
    canvas = portrait.canvas
    random = np.random.default_rng(portrait.person.seed + 5)
    mask = np.zeros_like(portrait.z)
    for _ in range(portrait.person.freckles):
        x, y = random.normal(0, 0.30), 0.08 + random.normal(0, 0.12)
        radius, strength = random.uniform(0.005, 0.011), random.uniform(0.3, 0.9)
        if abs(x) < 0.6:
            mask = np.maximum(mask, strength * canvas.ellipse(x, y + 0.12 * (abs(x) < 0.1), radius, radius))
    return canvas.blur(mask, 0.003)


def _eyes(portrait: Portrait, eyeball: Array) -> None:
    canvas, person = portrait.canvas, portrait.person
    skin = linear(person.skin)
    for side in (1, -1):
        _eye(portrait, eyeball, side)
    portrait.paint(portrait.lashes, linear("#1c120e"), 0.94)
    for side in (1, -1):
        upper, _ = person.lids(side)
        fold = canvas.stroke(person.crease(side), [0.001, 0.010, 0.012, 0.012, 0.010, 0.002], 0.006)
        portrait.paint(fold, skin * np.array([0.42, 0.28, 0.26], np.float32), 0.55 * (1 - 0.7 * person.lid))
        if person.makeup:
            above = [(x + (x - side * EYE_X) * 0.15, y - 0.06) for x, y in reversed(upper)]
            lid = canvas.shape([*upper, *above], 0.02) * (1 - portrait.eyes)
            portrait.paint(lid, linear("#6d3b35"), 0.20 * person.makeup)
    line, _, _ = person.mouth()
    portrait.mouth_line = canvas.stroke(line, [0.003, 0.012, 0.013, 0.015, 0.013, 0.012, 0.003], 0.003)
    portrait.paint(portrait.mouth_line, linear(person.lip) * 0.16, 0.85)
    nostrils = np.clip(canvas.bumps(0.068 * person.nose_width, 0.318, 0.030, 0.014, 0.28), 0, 1)
    portrait.paint(nostrils * portrait.head, skin * np.array([0.16, 0.08, 0.07], np.float32), 0.62)


def _eye(portrait: Portrait, eyeball: Array, side: int) -> None:
    canvas, person = portrait.canvas, portrait.person
    upper, lower = person.lids(side)
    opening = portrait.eyes * (canvas.x * side > 0)
    portrait.put(opening, eyeball - 0.02, linear("#f3ece6"), Part.EYE, 0.08, 60)
    portrait.paint(opening * canvas.bump(side * 0.16, -0.105, 0.03, 0.03), linear("#c98a80"), 0.8)
    corners = smoothstep(0.09, 0.155, np.abs(canvas.x - side * EYE_X))
    portrait.paint(opening * corners, linear("#d8b3a6"), 0.35)
    _iris(portrait, opening, side)
    shadow = canvas.stroke([(x, y + 0.012) for x, y in upper], [0.02, 0.045, 0.05, 0.05, 0.045, 0.02], 0.014)
    portrait.paint(opening * shadow, linear(person.skin) * 0.12, 0.62)
    thick = [0.014 * person.lashes + 0.004, 0.019 * person.lashes + 0.004, 0.021 * person.lashes + 0.004]
    widths = [0.006, *thick, 0.018 * person.lashes + 0.004, 0.008]
    edge = canvas.stroke([(x, y - 0.002) for x, y in upper], widths, 0.0025)
    below = [(x, y + 0.002) for x, y in lower]
    edge_below = canvas.stroke(below, [0.010, 0.008, 0.006, 0.005, 0.004, 0.002], 0.003)
    hairs = _lash_hairs(portrait, side) * min(1.0, 0.35 + 0.5 * (person.lashes - 0.5))
    lashes = np.maximum.reduce([portrait.lashes, edge, edge_below * 0.55, hairs])
    portrait.lashes = np.clip(lashes, 0, 1)


def _iris(portrait: Portrait, opening: Array, side: int) -> None:
    canvas, colour = portrait.canvas, linear(portrait.person.iris)
    dx, dy = canvas.x - side * IRIS_X, canvas.y - IRIS_Y
    distance, turn = np.hypot(dx, dy), np.arctan2(dy, dx)
    mask = opening * (1 - smoothstep(IRIS_RADIUS - 0.004, IRIS_RADIUS + 0.004, distance))
    portrait.irises = np.maximum(portrait.irises, mask)
    random = np.random.default_rng(portrait.person.seed + 3)
    fibres = np.zeros_like(distance)
    for count in (11, 17, 23, 31, 43):
        fibres += np.cos(turn * count + random.uniform(0, 2 * np.pi)) * random.uniform(0.3, 1) / 2.2
    # Light that enters above leaves the iris below.
    tone = 0.62 + 0.75 * smoothstep(0.2, 1, (dy / IRIS_RADIUS + 1) / 2) + 0.16 * fibres
    collar = 0.5 * np.exp(-(((distance - 0.038) / 0.012) ** 2))
    coloured = blend(colour * tone[..., None], colour * np.array([1.6, 1.35, 1.0], np.float32), collar)
    portrait.paint(mask, coloured)
    portrait.paint(mask * smoothstep(IRIS_RADIUS - 0.022, IRIS_RADIUS, distance), colour * 0.18, 0.8)
    pupil = opening * (1 - smoothstep(0.030, 0.036, distance))
    portrait.paint(pupil, np.array([0.004, 0.004, 0.005], np.float32))
    window = 1 - smoothstep(0.012, 0.018, np.hypot(dx + 0.026, dy + 0.026))
    echo = 0.35 * (1 - smoothstep(0.008, 0.014, np.hypot(dx - 0.03, dy - 0.034)))
    portrait.glints = np.maximum(portrait.glints, opening * np.maximum(window, echo))


def _lash_hairs(portrait: Portrait, side: int) -> Array:
    canvas, person = portrait.canvas, portrait.person
    random = np.random.default_rng(person.seed + 17)
    mask = np.zeros(portrait.z.shape, np.uint8)
    upper, _ = person.lids(side)
    edge = curve(upper, closed=False, steps=30)
    for _ in range(34):
        along = random.uniform(0.12, 1.0)
        root = edge[int(along * (len(edge) - 1))]
        direction = np.array([side * (-0.35 + 1.35 * along), -0.9 + 0.25 * along])
        length = (0.026 + 0.030 * along) * min(person.lashes, 1.15) * random.uniform(0.7, 1.1)
        tip = root + direction / np.hypot(*direction) * length
        bend = (root + tip) / 2 + [0, 0.010 * person.lashes]
        hair = ribbon(curve(np.array([root, bend, tip]), closed=False, steps=6), [0.008, 0.001])
        fill_polygon(mask, canvas.pixels(hair) - 0.5)
    return mask.astype(np.float32) / 255


def _brows(portrait: Portrait) -> None:
    canvas, person = portrait.canvas, portrait.person
    colour = linear(person.brow_colour or person.hair) * 0.8
    random = np.random.default_rng(person.seed + 9)
    thick, arch = person.brow_thickness, person.brow_arch
    soft = np.zeros_like(portrait.z)
    hairs = np.zeros(portrait.z.shape, np.uint8)
    for side in (1, -1):
        line = [
            (0.135, -0.288),
            (0.24, -0.322 - 0.008 * arch),
            (0.355, -0.325 - 0.022 * arch),
            (0.485, -0.272),
        ]
        line = mirrored(line, side)
        widths = [0.05 * thick, 0.062 * thick, 0.046 * thick, 0.006]
        soft = np.maximum(soft, 0.62 * canvas.stroke(line, widths, 0.012))
        middle = curve(line, closed=False, steps=20)
        along = np.gradient(middle, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        for _ in range(150):
            share = random.beta(1.0, 1.15)
            i = min(len(middle) - 1, int(share * len(middle)))
            width = np.interp(share, [0, 0.33, 0.66, 1], [0.05, 0.062, 0.046, 0.008]) * thick
            off = random.uniform(-0.5, 0.5) * width
            root = middle[i] + np.array([-along[i][1], along[i][0]]) * off
            # Hairs stand up near the nose and lie along the brow at its end.
            lift = -0.75 * (1 - share) + (0.25 * share if off < 0 else 0)
            direction = along[i] * (0.55 + share * 0.6) + np.array([0, lift])
            tip = root + direction / np.linalg.norm(direction) * random.uniform(0.045, 0.075)
            bend = (root + tip) / 2 + along[i] * 0.006
            hair_widths = np.array([0.007, 0.008, 0.001]) * np.sqrt(thick)
            hair = ribbon(curve(np.array([root, bend, tip]), closed=False, steps=6), hair_widths.tolist())
            fill_polygon(hairs, canvas.pixels(hair) - 0.5)
    portrait.brows = np.maximum(soft, hairs.astype(np.float32) / 255 * 0.95)
    portrait.paint(portrait.brows, colour, 0.95)
    portrait.z = portrait.z + 0.012 * canvas.blur(portrait.brows, 0.004)
    portrait.part[portrait.brows > 0.45] = Part.BROW
    portrait.shine = portrait.shine * (1 - portrait.brows)
