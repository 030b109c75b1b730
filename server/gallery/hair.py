"""Paints hair: behind the head, and over the forehead along its hairline, strand by strand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.landmarks import topology as face
from server.gallery.painter import Layer, Painter, Points, ellipse, smooth
from server.gallery.person import Head, Person

Flow = Callable[[float, float], tuple[float, float]]

# Hairlines from the left temple to the right, in half widths and face heights below the crown.
_HAIRLINES = {
    "short": [[-1.0, 0.38], [-0.88, 0.2], [-0.74, 0.08], [-0.4, 0.06], [0.1, 0.03], [0.55, 0.07],
              [0.76, 0.1], [0.88, 0.2], [1.0, 0.38]],
    "side": [[-1.0, 0.4], [-0.9, 0.24], [-0.8, 0.16], [-0.45, 0.12], [0.05, 0.06], [0.45, 0.02],
             [0.76, 0.09], [0.89, 0.22], [1.0, 0.4]],
    "bob": [[-1.2, 0.9], [-1.05, 0.62], [-0.99, 0.36], [-0.8, 0.2], [-0.3, 0.17], [0.3, 0.17], [0.8, 0.2],
            [0.99, 0.36], [1.05, 0.62], [1.2, 0.9]],
    "long": [[-1.22, 1.2], [-1.08, 0.72], [-1.0, 0.42], [-0.86, 0.22], [-0.5, 0.1], [-0.12, 0.03],
             [0.2, 0.07], [0.66, 0.15], [0.92, 0.28], [1.02, 0.46], [1.08, 0.72], [1.22, 1.2]],
    "curly": [[-1.1, 0.46], [-1.0, 0.28], [-0.86, 0.16], [-0.5, 0.1], [0.0, 0.08], [0.5, 0.1], [0.86, 0.16],
              [1.0, 0.28], [1.1, 0.46]],
    "bun": [[-1.0, 0.38], [-0.9, 0.2], [-0.72, 0.08], [-0.35, 0.03], [0.0, 0.02], [0.35, 0.03],
            [0.72, 0.08], [0.9, 0.2], [1.0, 0.38]],
}  # fmt: skip
_WIDTH = {"bob": 1.32, "long": 1.34, "curly": 1.5, "short": 1.07, "side": 1.09, "bun": 1.07}
_RISE = {"curly": 0.33, "bun": 0.17, "short": 0.2}
_PARTING = {"side": 0.45, "long": -0.12, "short": 0.2}


def paint_hair_behind(painter: Painter, person: Person, head: Head, random: np.random.Generator) -> None:
    """What hangs or stands behind face and neck."""
    if person.hair == "curly":
        region = painter.mask(ellipse(head.at([0, 0.34]), 1.52 * head.half, 0.68 * head.height), 3.0)
        painter.paint(region, _tone(person, 0.5))
        _paint_strands(painter, region, person, random, 1800, _curls, 26)
        return
    if person.hair == "bun":
        bun = painter.mask(ellipse(head.at([0, -0.25]), 0.48 * head.half, 0.15 * head.height), 1.5)
        painter.paint(bun, _tone(person, 0.7))
        _paint_strands(painter, bun, person, random, 220, lambda x, y: (np.cos(y / 15), 0.35), 40)
    if person.hair not in ("bob", "long"):
        return
    low = 1.04 if person.hair == "bob" else 1.75
    wide = _WIDTH[person.hair]
    side = [[wide, low], [1.03 * wide, 0.4], [0.86 * wide, 0.0], [0.5, -0.19], [0.0, -0.23]]
    region = painter.mask(smooth(head.at([[-x, y] for x, y in side] + side[-2::-1])), 2.0)
    painter.paint(region, _tone(person, 0.5))

    def hang(x: float, y: float) -> tuple[float, float]:
        return 0.1 * (x - head.centre[0]) / head.half + 0.1 * np.sin(y / 45), 1.0

    _paint_strands(painter, region, person, random, 1100, hang, 70)
    shadow = head.at([[-1.15, 0.42], [1.15, 0.42], [1.1, low], [-1.1, low]])
    painter.shade(painter.mask(shadow, 14), 0.66)


def paint_hair_front(painter: Painter, person: Person, head: Head, random: np.random.Generator) -> None:
    """What covers the head down to the hairline, with its shadow on the forehead."""
    line = np.array(_HAIRLINES[person.hair])
    wide, rise, low = _WIDTH[person.hair], _RISE.get(person.hair, 0.23), line[0, 1]
    half_outline = [[wide, low], [wide, 0.25], [0.84 * wide, 0.0], [0.48, -0.84 * rise], [0.0, -rise]]
    outline = head.at(half_outline + [[-x, y] for x, y in half_outline[-2::-1]])
    if person.hair == "curly":
        angles = np.linspace(0.12, np.pi - 0.12, 24)
        outline = head.at(np.stack([1.5 * np.cos(angles), 0.34 - 0.67 * np.sin(angles)], axis=1))

    def region_below(drop: float) -> Points:
        hairline = smooth(head.at(line + [0, drop]), closed=False)
        return np.concatenate([hairline, smooth(outline, closed=False)])

    oval = painter.mask(smooth(head.xy[face.FACE_OVAL]), 2)
    painter.shade(painter.mask(region_below(0.035), 7) * oval, 0.7)
    region = painter.mask(region_below(0.0), 2.0)
    painter.paint(region, _tone(person, 0.7))
    if person.hair == "curly":
        _paint_strands(painter, region, person, random, 2200, _curls, 24)
    else:
        parting = _PARTING.get(person.hair, 0.0)

        def comb(x: float, y: float) -> tuple[float, float]:
            across = (x - head.centre[0]) / head.half - parting
            if person.hair == "bun":
                return 0.5 * across, -1.0
            down = float(np.clip((y - head.crown[1]) / head.height + 0.35, 0.05, 1.0))
            return 1.6 * across + 0.1 * np.sin(y / 20), down * (0.6 + 1.2 * abs(across))

        _paint_strands(painter, region, person, random, 2200, comb, 58)
    shine = painter.mask(ellipse(head.at([-0.35, -0.07]), 0.5 * head.half, 0.05 * head.height), 16)
    painter.canvas += (shine * region)[..., None] * _tone(person, 0.32)


def _tone(person: Person, factor: float) -> Layer:
    return np.asarray(person.hair_colour, np.float32) * np.float32(factor)


def _curls(x: float, y: float) -> tuple[float, float]:
    return float(np.cos(y / 6 + x / 15)), float(np.sin(x / 6 + y / 13))


def _paint_strands(
    painter: Painter,
    region: Layer,
    person: Person,
    random: np.random.Generator,
    count: int,
    flow: Flow,
    length: float,
) -> None:
    """Strokes that start anywhere in the region and follow the flow."""
    rows, columns = np.nonzero(region > 0.4)
    lines, colours, widths = [], [], []
    for start in random.integers(0, len(columns), count):
        x, y = float(columns[start]), float(rows[start])
        line = [(x, y)]
        for _ in range(6):
            across, down = flow(x, y)
            pace = length / 6 / (np.hypot(across, down) + 1e-6)
            x, y = x + across * pace, y + down * pace
            line.append((x, y))
        lines.append(np.array(line))
        colours.append(np.clip(_tone(person, float(np.clip(random.normal(0.98, 0.2), 0.5, 1.5))), 0, 255))
        widths.append(int(random.integers(1, 3)))
    painter.strands(region, lines, colours, widths, 0.7)
