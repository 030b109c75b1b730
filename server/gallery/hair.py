"""Hair: strands that follow guide curves, round curls, and beards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from server.gallery.drawing import Array, Canvas, Points, curve, linear, mirrored, smoothstep
from server.gallery.portrait import Part, Portrait

Guides = Sequence[Sequence[tuple[float, float]]]

_FIELD_STEP = 8
_STEPS = 26


@dataclass(frozen=True)
class Strands:
    """How hair lies. Lengths in design units.

    Attributes:
        guides: curves along which strands run.
        seed: of the strands.
        reach: length over which a strand keeps its tone.
        grain: coarseness of strands.
        guide_width: how far a guide is followed.
        thick: how far the hair stands off the head.
        edge: how soon it reaches that from its border.
        relief: height of single strands.
        contrast: of light and dark strands.
        fringe: width of the frayed border.
        base: relief it lies on; by default what is there.
        colour: ``#rrggbb``; by default the sitter's.
    """

    guides: Guides
    seed: int = 0
    reach: float = 0.30
    grain: float = 1.0
    guide_width: float = 0.22
    thick: float = 0.12
    edge: float = 0.05
    relief: float = 0.02
    contrast: float = 0.55
    fringe: float = 0.0
    base: float | None = None
    colour: str | None = None


def draw_strands(portrait: Portrait, outline: Points, strands: Strands) -> None:
    """A body of hair within a closed curve."""
    canvas = portrait.canvas
    mask = canvas.shape(outline)
    tone, flow = strand_tone(canvas, mask, strands, portrait.person.seed * 7 + strands.seed)
    if strands.fringe:
        mask = _frayed(canvas, mask, tone, strands.fringe)
    if strands.base is None:
        below = portrait.relief_below(-0.25, 0.05)
    else:
        below = np.full_like(portrait.z, strands.base)
    round_ = 1 - (1 - np.clip(canvas.inside(mask) / (strands.edge * 4), 0, 1)) ** 2
    z = below + strands.thick * np.sqrt(np.clip(round_, 0, 1)) + strands.relief * tone
    colour = linear(strands.colour or portrait.person.hair)
    portrait.put(mask, z, colour * np.exp(strands.contrast * tone)[..., None], Part.HAIR, 0.5, 30)
    portrait.flow = np.where((mask > 0.5)[..., None], flow, portrait.flow)


def strand_tone(canvas: Canvas, mask: Array, strands: Strands, seed: int) -> tuple[Array, Array]:
    """Tone -1..1 of each pixel, alike along strands, and the strands' direction ``[size, size, 2]``.

    Line integral convolution of noise along a field interpolated between the guides (Cabral and Leedom,
    "Imaging vector fields using line integral convolution", 1993).
    """
    flow = _field(canvas, strands)
    random = np.random.default_rng(seed)
    shape = (canvas.size, canvas.size)
    fine = random.standard_normal(shape).astype(np.float32)
    fine = cv2.GaussianBlur(fine, (0, 0), 0.0026 * canvas.scale * strands.grain + 0.4)
    coarse = random.standard_normal(shape).astype(np.float32)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 0.02 * canvas.scale * strands.grain)
    noise = fine / fine.std() + 0.9 * coarse / coarse.std()
    inside = mask > 0.5
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    total = noise.copy()
    if not len(rows):
        return total, flow
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    start_x, start_y = np.meshgrid(
        np.arange(part[1].start, part[1].stop, dtype=np.float32),
        np.arange(part[0].start, part[0].stop, dtype=np.float32),
    )
    step = strands.reach * canvas.scale / _STEPS
    for sign in (1, -1):
        x, y = start_x.copy(), start_y.copy()
        for i in range(_STEPS):
            ahead = cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            x += sign * step * ahead[..., 0]
            y += sign * step * ahead[..., 1]
            seen = cv2.remap(noise, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            total[part] += seen * (1 - (i / _STEPS) ** 2)
    total /= total[inside].std() + 1e-6
    return np.tanh(total * 0.7), flow


def _field(canvas: Canvas, strands: Strands) -> Array:
    """Unit directions ``[size, size, 2]``: those of the guides, weighted by nearness."""
    half = _FIELD_STEP // 2
    grid_x = canvas.x[half::_FIELD_STEP, half::_FIELD_STEP].astype(np.float64)
    grid_y = canvas.y[half::_FIELD_STEP, half::_FIELD_STEP].astype(np.float64)
    field = np.zeros((*grid_x.shape, 2))
    for guide in strands.guides:
        line = curve(guide, closed=False, steps=10)
        along = np.gradient(line, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
        for (x, y), direction in zip(line[::2], along[::2], strict=True):
            squared = (grid_x - x) ** 2 + (grid_y - y) ** 2
            weight = np.exp(-squared / (2 * strands.guide_width**2)) + 1e-4 / (squared + 0.01)
            field += weight[..., None] * direction
    field /= np.linalg.norm(field, axis=2, keepdims=True) + 1e-9
    size = (canvas.size, canvas.size)
    large = cv2.resize(field.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(large / (np.linalg.norm(large, axis=2, keepdims=True) + 1e-6), np.float32)


def _frayed(canvas: Canvas, mask: Array, tone: Array, width: float) -> Array:
    soft = canvas.blur(mask, width)
    uneven = soft + 0.33 * tone * (4 * soft * (1 - soft))
    return np.clip((uneven - 0.5) * canvas.scale * width * 0.35 + 0.5, 0, 1)


def draw_curls(
    portrait: Portrait,
    mask: Array,
    *,
    size: float,
    thick: float,
    seed: int,
    contrast: float = 0.5,
    base: float | None = None,
) -> None:
    """Tight round curls of radius ``size`` where ``mask`` is; other arguments as in :class:`Strands`."""
    canvas = portrait.canvas
    tone = np.tanh(_curl_tone(canvas, mask, size, seed))
    soft = canvas.blur(mask, 0.02)
    uneven = soft + 0.48 * tone * soft * (1 - soft)
    mask = np.clip((uneven - 0.5) * canvas.scale * 0.02 + 0.5, 0, 1)
    below = portrait.relief_below(-0.3, 0.06) if base is None else np.full_like(portrait.z, base)
    round_ = 1 - (1 - np.clip(canvas.inside(mask) / 0.35, 0, 1)) ** 2
    z = below + thick * np.sqrt(np.clip(round_, 0, 1)) + 0.05 * tone
    colour = linear(portrait.person.hair) * np.exp(contrast * tone)[..., None]
    portrait.put(mask, z, colour, Part.HAIR, 0.15, 14)


def _curl_tone(canvas: Canvas, mask: Array, size: float, seed: int) -> Array:
    """Overlapping discs with spirals on them, of zero mean and unit deviation within the mask."""
    random = np.random.default_rng(seed)
    inside_y, inside_x = np.nonzero(mask > 0.5)
    radius = size * canvas.scale
    tone = np.zeros_like(mask)
    for i in random.integers(0, len(inside_x), int(mask.sum() / radius**2 * 2.2)):
        x, y, r = inside_x[i], inside_y[i], radius * random.uniform(0.6, 1.25)
        left, right = int(max(0, x - r)), int(min(canvas.size, x + r + 1))
        top, bottom = int(max(0, y - r)), int(min(canvas.size, y + r + 1))
        rows, columns = np.mgrid[top:bottom, left:right]
        dx, dy = (columns - x) / r, (rows - y) / r
        distance = np.hypot(dx, dy)
        turn = np.arctan2(dy, dx) * random.choice([-1, 1]) + distance * 5 + random.uniform(0, 2 * np.pi)
        height = 0.9 * np.sqrt(np.clip(1 - distance**2, 0, 1)) + random.uniform(-0.35, 0.35)
        height += 0.42 * np.cos(turn * 2) * np.sqrt(np.clip(1 - distance, 0, 1))
        below = tone[top:bottom, left:right]
        over = (distance < 1) & (height > below - 0.25)
        tone[top:bottom, left:right] = np.where(over, height, below)
    inside = tone[mask > 0.5]
    return np.asarray((tone - inside.mean()) / (inside.std() + 1e-6), np.float32)


def draw_beard(
    portrait: Portrait, outline: Points, colour: str, *, thick: float = 0.045, contrast: float, dense: float
) -> None:
    """A beard or moustache within a closed curve; the lips stay free.

    Args:
        portrait: gets the beard.
        outline: its border.
        colour: ``#rrggbb``.
        thick: how far it stands out.
        contrast: of its hairs.
        dense: opacity.
    """
    canvas = portrait.canvas
    mask = canvas.shape(outline) * (1 - portrait.lips)
    guides = [[(0.0, 0.8), (0.0, 1.2)]]
    for side in (1, -1):
        guides.append(mirrored([(0.66, 0.0), (0.62, 0.4), (0.45, 0.8), (0.3, 1.1)], side))
        guides.append(mirrored([(0.3, 0.6), (0.28, 0.9), (0.18, 1.15)], side))
        guides.append(mirrored([(0.03, 0.44), (0.18, 0.50), (0.33, 0.62)], side))
    strands = Strands(guides, reach=0.10, grain=0.9, guide_width=0.10)
    tone, flow = strand_tone(canvas, mask, strands, 9)
    soft = canvas.blur(mask, 0.03)
    hairs = np.clip((soft + 2 * tone * soft * (1 - soft) - 0.5) * 3 + 0.5, 0, 1) * dense
    # No bare rim around the lips.
    near = smoothstep(0.04, 0.25, canvas.blur(portrait.lips, 0.012))
    hairs = np.maximum(hairs, mask * near * dense) * (1 - portrait.lips)
    z = portrait.z + thick * soft + 0.012 * tone
    portrait.z = np.where(hairs > 0.3, z, portrait.z).astype(np.float32)
    portrait.paint(hairs, linear(colour) * np.exp(contrast * tone)[..., None])
    portrait.part[hairs > 0.6] = Part.HAIR
    portrait.shine = portrait.shine * (1 - hairs) + 0.2 * hairs
    portrait.flow = np.where((hairs > 0.5)[..., None], flow, portrait.flow)
