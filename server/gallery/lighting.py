"""Light on a portrait: a warm key light from the upper left, cool fill, shadows, skin that scatters."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from server.gallery.drawing import Array, Canvas, blend, linear, smoothstep
from server.gallery.portrait import Part, Portrait

_STEEPEST = 3.0
#: For red, green and blue: how far light wraps around skin, and what share of it scatters under it.
_SCATTERING = ((0.42, 0.75), (0.22, 0.45), (0.16, 0.30))


@dataclass(frozen=True)
class Lamp:
    """The light.

    Attributes:
        key: direction towards the key light (x right, y down, z to the viewer).
        key_colour, fill_colour: linear.
        ambient: light from everywhere.
        scattering: how much skin scatters, 0..1.
        skin_all_over: every part is of the skin's material (sculpture).
    """

    key: tuple[float, float, float] = (-0.50, -0.55, 0.68)
    key_colour: tuple[float, float, float] = (1.0, 0.93, 0.84)
    fill_colour: tuple[float, float, float] = (0.22, 0.27, 0.36)
    ambient: float = 0.26
    scattering: float = 1.0
    skin_all_over: bool = False


def light(portrait: Portrait, lamp: Lamp | None = None) -> None:
    """Light the portrait: sets its ``shade``, ``sheen`` and ``lit``."""
    lamp = lamp or Lamp()
    canvas = portrait.canvas
    key = _unit(lamp.key)
    gradient = _gradient(canvas, portrait.z)
    normal, soft_normal = _normal(gradient), _normal(canvas.blur(gradient, 0.014))
    seen = 1 - smoothstep(0, 1, _shadow(canvas, portrait.z, key))
    open_ = _openness(canvas, portrait.z)
    skin = np.isin(portrait.part, (Part.HEAD, Part.NECK)).astype(np.float32)
    if lamp.skin_all_over:
        skin = (portrait.part > 0).astype(np.float32)
    skin *= lamp.scattering

    direct, scattered = normal @ key, soft_normal @ key
    channels = []
    for wrap, share in _SCATTERING:
        cosine = direct * (1 - skin * share) + scattered * skin * share
        around = wrap * skin + 0.08 * (1 - skin)
        channels.append(np.clip((cosine + around) / (1 + around), 0, 1) ** 1.35)
    diffuse = np.stack(channels, axis=-1)
    # Light that enters skin beside a shadow reddens its edge.
    shadowed = np.stack([seen ** (1 - 0.35 * skin), seen, seen ** (1 + 0.05 * skin)], axis=-1)
    fill = np.clip(normal @ _unit((0.62, -0.15, 0.5)), 0, 1)
    brightness = 1.75 * diffuse * shadowed * np.array(lamp.key_colour, np.float32)
    brightness += (lamp.ambient * open_)[..., None] * np.array([0.90, 0.92, 1.0], np.float32)
    brightness += 0.8 * (fill * open_)[..., None] * np.array(lamp.fill_colour, np.float32)

    halfway = _unit(tuple(key + np.array([0, 0, 1])))
    sheen = portrait.shine * np.clip(normal @ halfway, 0, 1) ** portrait.gloss * seen * (0.35 + 0.65 * open_)
    hair = portrait.part == Part.HAIR
    strand_sheen = canvas.blur(_strand_highlight(portrait.flow, normal, halfway), 0.02)
    sheen = np.where(hair, 0.30 * portrait.shine * strand_sheen * (0.3 + 0.7 * seen) * open_, sheen)
    tint = np.where(hair[..., None], np.clip(portrait.colour * 3 + 0.04, 0, 1), 1)

    rim = np.clip(1 - normal[..., 2], 0, 1) ** 3 * np.clip(
        0.3 + 0.9 * normal[..., 0] - 0.2 * normal[..., 1], 0, 1
    )
    rim_colour = np.array([0.5, 0.55, 0.6], np.float32) * 0.30
    pale = np.clip(portrait.colour.mean(axis=-1, keepdims=True) * 3, 0.3, 1)
    lit = portrait.colour * brightness + 0.9 * tint * sheen[..., None] * np.array(lamp.key_colour, np.float32)
    lit += (rim * open_)[..., None] * rim_colour * pale + 2.2 * portrait.glints[..., None]
    portrait.shade = np.asarray(brightness.mean(axis=-1), np.float32)
    portrait.sheen = np.asarray(sheen, np.float32)
    portrait.lit = np.asarray(lit, np.float32)


def backdrop(portrait: Portrait) -> Array:
    """The background in the sitter's colours, lighter at the right; linear ``[size, size, 3]``."""
    canvas = portrait.canvas
    inner, outer = (linear(code) for code in portrait.person.background)
    away = smoothstep(0.2, 2.6, np.hypot(canvas.x - 0.3, canvas.y + 0.3))
    return blend(np.broadcast_to(inner, portrait.colour.shape), outer, away)


def photograph(portrait: Portrait, background: Array | None = None, exposure: float = 1.0) -> Array:
    """The lit portrait before a background (by default its backdrop) as sRGB 0..1."""
    behind = backdrop(portrait) if background is None else background
    halo = portrait.canvas.blur(portrait.cover, 0.12)[..., None]
    picture = blend(behind * (1 - 0.35 * halo), portrait.lit, portrait.cover) * exposure
    picture = picture * (1 + picture / 6) / (1 + picture) * 1.35  # a soft shoulder instead of clipping
    return np.asarray(np.clip(picture, 0, 1) ** (1 / 2.2), np.float32)


def _unit(direction: tuple[float, ...]) -> Array:
    vector = np.array(direction, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def _gradient(canvas: Canvas, z: Array) -> Array:
    """Slope of the relief ``[size, size, 2]``, bounded."""
    smooth = cv2.GaussianBlur(z, (0, 0), 0.0022 * canvas.scale + 0.3)
    slopes = [cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx, ksize=3) / 8 * canvas.scale for dx in (1, 0)]
    gradient = np.stack(slopes, axis=-1)
    steepness = np.linalg.norm(gradient, axis=-1, keepdims=True) + 1e-6
    return np.asarray(gradient * np.minimum(1, _STEEPEST / steepness), np.float32)


def _normal(gradient: Array) -> Array:
    normal = np.concatenate([-gradient, np.ones_like(gradient[..., :1])], axis=-1)
    return np.asarray(normal / np.linalg.norm(normal, axis=-1, keepdims=True), np.float32)


def _shadow(canvas: Canvas, z: Array, key: Array) -> Array:
    """How far each pixel is below the ray to the key light, 0..1, softer the farther the caster is."""
    scale = canvas.scale / 2
    low = cv2.resize(z, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    occluded = np.full_like(low, -9)
    for distance in np.linspace(0.02, 0.9, 46):
        shift = np.array([[1, 0, -key[0] * distance * scale], [0, 1, -key[1] * distance * scale]], np.float32)
        there = cv2.warpAffine(low, shift, low.shape[::-1], borderMode=cv2.BORDER_CONSTANT, borderValue=-1.2)
        above = (there - key[2] * distance - low - 0.012) / (0.02 + 0.10 * distance)
        occluded = np.maximum(occluded, above)
    soft = cv2.GaussianBlur(np.clip(occluded, 0, 1).astype(np.float32), (0, 0), 0.008 * scale)
    return cv2.resize(soft, (canvas.size, canvas.size), interpolation=cv2.INTER_LINEAR)


def _openness(canvas: Canvas, z: Array) -> Array:
    """Ambient light that reaches a pixel, 0..1: less in what lies below its surroundings."""
    bounded = np.maximum(z, -0.6)
    open_ = np.ones_like(z)
    for width, strength in ((0.02, 5.0), (0.06, 2.6), (0.16, 1.2)):
        open_ *= np.exp(-strength * np.clip(canvas.blur(bounded, width) - bounded, 0, 0.4))
    return open_


def _strand_highlight(flow: Array, normal: Array, halfway: Array) -> Array:
    """Strands shine across their run (Kajiya and Kay, "Rendering fur with 3D textures", 1989)."""
    rise = -(flow * normal[..., :2]).sum(axis=-1) / np.maximum(normal[..., 2], 0.3)
    along = flow @ halfway[:2] + rise * halfway[2]
    along /= np.sqrt((flow**2).sum(axis=-1) + rise**2)
    return np.asarray(np.sqrt(np.clip(1 - along**2, 0, 1)) ** 60, np.float32)
