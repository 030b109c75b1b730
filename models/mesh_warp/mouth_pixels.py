"""Paints the mouth, pixel by pixel: see :func:`models.mesh_warp.mouth.draw_mouth`."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from models.mesh_warp.pixels import (
    SAMPLES,
    TABLE_FROM,
    TABLE_TO,
    Colour,
    Float32,
    Frame,
    Picture,
    Window,
    edge_heights,
    frame_between,
    frame_width,
    mixed,
    sampled,
    smoothstep,
    table_index,
    to_local,
    to_pixels,
    window_of,
)  # fmt: skip

Indices = npt.NDArray[np.intp]

LEFT_CORNER, RIGHT_CORNER = 61, 291  # on the picture's left and right
NASION, NOSE_BASE = 168, 2  # both fixed to the skull, as the upper teeth are
RIGHT_EYE, LEFT_EYE = 33, 263  # their outer corners
DARK: Final = (58.0, 23.0, 24.0)
TEETH: Final = (218.0, 198.0, 178.0)
TONGUE: Final = (138.0, 66.0, 66.0)
LUMA: Final = (0.299, 0.587, 0.114)
# All in mouth widths.
#: How far the upper teeth reach below where the lips meet at rest, and the most and least that shows of them.
TEETH_BELOW_SEAM, MOST_TEETH, LEAST_TEETH = 0.065, 0.17, 0.06
#: A smile begins, and is whole, when the mouth is so wide, in distances of the eyes' outer corners. It shows
#: teeth so far down, but not farther than this share of its gap.
SMILE_FROM, SMILE_TO, SMILING_TEETH, SMILING_SHARE = 0.62, 0.68, 0.16, 0.95
#: Where neighbouring upper teeth meet, from the middle.
TOOTH_EDGES: Final = (0.0, 0.155, 0.275, 0.38)
FEATHER = 0.05  # over which the drawn lips go over into the warped photo
#: How wide open a mouth is when it begins to be kept as it was drawn, and when it is wholly; then a smile's.
KEPT_FROM, KEPT_TO = 0.20, 0.40
KEPT_SMILE_FROM, KEPT_SMILE_TO = 0.06, 0.14


class Lips(NamedTuple):
    """Which landmarks the edges of the lips are, from the outer upper to the outer lower one."""

    outer_upper: Indices
    inner_upper: Indices
    inner_lower: Indices
    outer_lower: Indices


class Mouth(NamedTuple):
    """A photo's mouth; see :class:`models.mesh_warp.mouth.MouthPlate`."""

    photo: Picture
    frame: Frame
    edges: Float32
    nose_length: float
    nose_u: float
    nose_v: float
    seam: float
    shows: float
    light_red: float
    light_green: float
    light_blue: float
    colour: float


class _Skull(NamedTuple):
    """From the shown mouth's frame to the photo's, for what is fixed to the skull: scale * (u, v) + shift."""

    scale: float
    shift_u: float
    shift_v: float
    smile: float


@compiled
def lip_edges(frame: Frame, landmarks: Float32, lips: Lips) -> Float32:
    """Heights of the four edges of the lips, ``[4, SAMPLES]``, which never cross."""
    edges = np.empty((4, SAMPLES), np.float32)
    edges[0], edges[1] = (
        edge_heights(frame, landmarks, lips.outer_upper),
        edge_heights(frame, landmarks, lips.inner_upper),
    )
    edges[2], edges[3] = (
        edge_heights(frame, landmarks, lips.inner_lower),
        edge_heights(frame, landmarks, lips.outer_lower),
    )
    for at in range(SAMPLES):
        middle = 0.5 * (edges[1, at] + edges[2, at])
        edges[1, at], edges[2, at] = min(edges[1, at], middle), max(edges[2, at], middle)
        edges[0, at], edges[3, at] = min(edges[0, at], edges[1, at]), max(edges[3, at], edges[2, at])
    return edges


@compiled
def nose_length(landmarks: Float32) -> float:
    """Pixels from the nose's root to its base."""
    x = landmarks[NOSE_BASE, 0] - landmarks[NASION, 0]
    y = landmarks[NOSE_BASE, 1] - landmarks[NASION, 1]
    return max(math.hypot(x, y), 1.0)


@compiled
def paint_mouth(picture: Picture, shown: Float32, lips: Lips, mouth: Mouth) -> None:
    """Draw lips and mouth over the warped photo, in place.

    Args:
        picture: ``[S, S, 3]``, the photo warped by the mesh flow.
        shown: landmarks ``[478, >=2]`` to be shown, pixels of ``picture``.
        lips: which of them the lips are.
        mouth: of the photo.
    """
    frame = frame_between(shown, LEFT_CORNER, RIGHT_CORNER)
    edges = lip_edges(frame, shown, lips)
    window = _window(frame, edges, picture)
    steep_upper, steep_lower = _steepness(edges[1]), _steepness(edges[2])
    pixel = 1.0 / max(frame_width(frame), 1.0)
    # each lip over its edge by a pixel; where the photo shows teeth, not so far
    over = (1.0 - mouth.shows) * pixel - 0.5 * mouth.shows * pixel
    skull = _skull(frame, shown, mouth)
    widest = (edges[2] - edges[1]).max()
    was_open = (mouth.edges[2] - mouth.edges[1]).max()
    # a mouth no more open than the photo's shows what the photo shows, down to the lower lip
    wider = smoothstep(skull.scale * widest - was_open, 0.0, 0.06)

    for y in range(window.top, window.bottom):
        for x in range(window.left, window.right):
            u, v = to_local(frame, x, y)
            at = table_index(u)
            outer_upper, inner_upper, inner_lower, outer_lower = (
                edges[0, at],
                edges[1, at],
                edges[2, at],
                edges[3, at],
            )
            mask = _mask(u, v, outer_upper, outer_lower)
            if mask <= 0.0:
                continue
            gap = inner_lower - inner_upper
            in_upper = smoothstep((inner_upper - v) / steep_upper[at], -pixel, pixel)
            in_lower = smoothstep((v - inner_lower) / steep_lower[at], -pixel, pixel)
            upper_lip = lower_lip = (0.0, 0.0, 0.0)
            if in_lower < 1.0 or in_upper > 0.0:
                was = mouth.edges[1, at]
                stretch = (was - mouth.edges[0, at]) / max(inner_upper - outer_upper, 1e-3)
                place = to_pixels(mouth.frame, u, was + min((v - inner_upper) * stretch, over))
                upper_lip = sampled(mouth.photo, place[0], place[1])
            if in_upper < 1.0:
                was = mouth.edges[2, at]
                stretch = (mouth.edges[3, at] - was) / max(outer_lower - inner_lower, 1e-3)
                place = to_pixels(mouth.frame, u, was + max((v - inner_lower) * stretch, -over))
                lower_lip = sampled(mouth.photo, place[0], place[1])
            drawn = lower_lip
            if in_lower < 1.0 and in_upper < 1.0:
                behind = mixed(upper_lip, lower_lip, 0.5)
                parted = smoothstep(gap, 0.4 * pixel, 0.4 * pixel + 0.035)
                if widest > 0.5 * pixel and parted > 0.0:
                    behind = mixed(behind, _inside(u, v, inner_upper, gap, wider, skull, mouth), parted)
                drawn = mixed(behind, lower_lip, in_lower)
            drawn = mixed(drawn, upper_lip, in_upper)
            if mouth.shows > 0.0:
                # lips that the photo shows apart have no line between them yet
                line = math.exp(-(((v - 0.5 * (inner_upper + inner_lower)) / (1.3 * pixel)) ** 2))
                line *= 1.0 - smoothstep(gap, 0.0, 0.05)
                line *= smoothstep(u, 0.02, 0.15) * smoothstep(1.0 - u, 0.02, 0.15)
                drawn = mixed(drawn, (0.0, 0.0, 0.0), 0.45 * mouth.shows * line)
            for channel in range(3):
                under = picture[y, x, channel]
                picture[y, x, channel] = round(min(max(under + mask * (drawn[channel] - under), 0.0), 255.0))


@compiled
def keep_mouth(picture: Picture, drawn: Picture, shown: Float32, lips: Lips) -> None:
    """Bring an open mouth back, in place, as it was drawn.

    Args:
        picture: ``[S, S, 3]``, what a network made of
        drawn: ``[S, S, 3]``, which :func:`paint_mouth` painted.
        shown: landmarks ``[478, >=2]`` that are shown, pixels.
        lips: which of them the lips are.
    """
    frame = frame_between(shown, LEFT_CORNER, RIGHT_CORNER)
    edges = lip_edges(frame, shown, lips)
    widest = (edges[2] - edges[1]).max()
    smiling = _smile(frame, shown) * smoothstep(widest, KEPT_SMILE_FROM, KEPT_SMILE_TO)
    opened = max(smoothstep(widest, KEPT_FROM, KEPT_TO), smiling)
    if not opened > 0.0:
        return
    window = _window(frame, edges, picture)
    for y in range(window.top, window.bottom):
        for x in range(window.left, window.right):
            u, v = to_local(frame, x, y)
            at = table_index(u)
            share = opened * _mask(u, v, edges[0, at], edges[3, at])
            for channel in range(3):
                made = picture[y, x, channel]
                picture[y, x, channel] = round(made + share * (float(drawn[y, x, channel]) - made))


@compiled
def _window(frame: Frame, edges: Float32, picture: Picture) -> Window:
    """Where lips can be in a picture; bounded for impossible landmarks."""
    top, bottom = max(edges[0].min(), -2.0) - 2 * FEATHER, min(edges[3].max(), 2.0) + 2 * FEATHER
    return window_of(frame, -0.1, 1.1, top, bottom, picture.shape[0])


@compiled
def _mask(u: float, v: float, outer_upper: float, outer_lower: float) -> float:
    """How much of a place is mouth, 0..1: soft at the outer edges of the lips and at the corners."""
    mask = smoothstep(v - outer_upper, -FEATHER, 0.0) * smoothstep(outer_lower - v, -FEATHER, 0.0)
    return mask * smoothstep(u, -0.05, 0.04) * smoothstep(1.0 - u, -0.05, 0.04)


@compiled
def _steepness(heights: Float32) -> Float32:
    """How much farther, measured in v, a pixel reaches across a slanting edge than across a level one."""
    slope = np.empty(SAMPLES)
    slope[0], slope[-1] = heights[1] - heights[0], heights[-1] - heights[-2]
    for at in range(1, SAMPLES - 1):
        slope[at] = 0.5 * (heights[at + 1] - heights[at - 1])
    steep = np.empty(SAMPLES, np.float32)
    for at in range(SAMPLES):
        mean = slope[max(at - 4, 0) : at + 5].sum() / 9.0 * ((SAMPLES - 1) / (TABLE_TO - TABLE_FROM))
        steep[at] = math.sqrt(1.0 + min(max(mean, -4.0), 4.0) ** 2)
    return steep


@compiled
def _skull(frame: Frame, shown: Float32, mouth: Mouth) -> _Skull:
    """Upper teeth keep their distance to the nose and their size, however the lips move."""
    growth = min(max(nose_length(shown) / mouth.nose_length, 0.6), 1.6)
    scale = frame_width(frame) / (frame_width(mouth.frame) * growth)
    u, v = to_local(frame, shown[NOSE_BASE, 0], shown[NOSE_BASE, 1])
    return _Skull(scale, mouth.nose_u - scale * u, mouth.nose_v - scale * v, _smile(frame, shown))


@compiled
def _smile(frame: Frame, shown: Float32) -> float:
    """How much a mouth smiles, 0..1: by its width."""
    x, y = shown[LEFT_EYE, 0] - shown[RIGHT_EYE, 0], shown[LEFT_EYE, 1] - shown[RIGHT_EYE, 1]
    return smoothstep(frame_width(frame) / max(math.hypot(x, y), 1.0), SMILE_FROM, SMILE_TO)


@compiled
def _inside(
    u: float, v: float, inner_upper: float, gap: float, wider: float, skull: _Skull, mouth: Mouth
) -> Colour:
    """The inside of the mouth: the photo's own where it shows one, else dark with a hint of upper teeth."""
    depth = v - inner_upper
    sides = 1.0 - abs(2.0 * u - 1.0)
    photo_u, photo_v = skull.scale * u + skull.shift_u, skull.scale * v + skull.shift_v
    colour = mixed((0.0, 0.0, 0.0), DARK, 0.55 + 0.45 * smoothstep(sides, 0.0, 0.7))
    tongue = (
        smoothstep(depth - 0.55 * gap, 0.0, 0.22) * smoothstep(sides, 0.1, 0.6) * smoothstep(gap, 0.1, 0.3)
    )
    colour = mixed(colour, TONGUE, 0.7 * tongue)
    if mouth.shows < 1.0:
        teeth, shade = _upper_teeth(photo_u, photo_v, depth, gap, skull, mouth)
        colour = mixed(
            colour, (TEETH[0] * shade, TEETH[1] * shade, TEETH[2] * shade), teeth * (1.0 - mouth.shows)
        )
    grey = colour[0] * LUMA[0] + colour[1] * LUMA[1] + colour[2] * LUMA[2]
    colour = mixed((grey, grey, grey), colour, mouth.colour)
    # lips throw a shadow inwards
    soft = 1.0 - 0.6 * skull.smile
    shadow = 0.6 + 0.4 * smoothstep(depth, 0.0, 0.07 * soft) * smoothstep(gap - depth, 0.0, 0.05 * soft)
    red, green, blue = mouth.light_red * shadow, mouth.light_green * shadow, mouth.light_blue * shadow
    colour = (colour[0] * red, colour[1] * green, colour[2] * blue)
    if mouth.shows > 0.0:
        at = table_index(photo_u)
        was_upper, was_lower = mouth.edges[1, at], mouth.edges[2, at]
        margin = 0.012
        share = 1.0 + wider * (smoothstep(was_lower - photo_v, margin, 0.06) - 1.0)
        share *= smoothstep(was_lower - was_upper, 0.01, 0.04) * mouth.shows
        place = to_pixels(mouth.frame, photo_u, max(photo_v, was_upper + margin))
        colour = mixed(colour, sampled(mouth.photo, place[0], place[1]), share)
    return colour


@compiled
def _upper_teeth(
    u: float, v: float, depth: float, gap: float, skull: _Skull, mouth: Mouth
) -> tuple[float, float]:
    """Whether there is an upper tooth, 0..1, and how bright; ``u`` and ``v`` in the photo's frame."""
    aside = abs(u - mouth.nose_u)
    nearest = math.inf
    for tooth in TOOTH_EDGES:
        nearest = min(nearest, abs(aside - tooth))
    edge = mouth.seam + TEETH_BELOW_SEAM - 0.35 * aside**2
    edge -= 0.012 * (1.0 - smoothstep(nearest, 0.0, 0.035))  # rounded corners
    # in the shown frame's measure: from the lip's edge to the teeth's
    reach = depth + (edge - v) / skull.scale
    least = min(LEAST_TEETH, 0.3 * gap) * (1.0 - smoothstep(aside, 0.15, 0.4))
    reach = min(max(reach, least), min(MOST_TEETH, 0.75 * gap))
    reach += skull.smile * (min(SMILING_TEETH, SMILING_SHARE * gap) - reach)
    wide = 0.14 * skull.smile
    teeth = smoothstep(reach - depth, -0.008, 0.012) * (1.0 - smoothstep(aside, 0.3 + wide, 0.46 + wide))
    shade = 0.86 - 0.45 * smoothstep(aside, 0.08 + wide, 0.42 + wide)
    return 0.92 * teeth, shade * (1.0 - 0.14 * math.exp(-((nearest / 0.012) ** 2)))
