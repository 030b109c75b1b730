"""Draws the mouth: lips from the photo, placed edge by edge, and behind them what the photo never showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.mesh_warp.feature_frame import EdgeTable, FeatureFrame, smoothstep

Picture = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

LEFT_CORNER, RIGHT_CORNER = 61, 291  # on the picture's left and right
NASION, NOSE_BASE = 168, 2  # both fixed to the skull, as the upper teeth are
_BRIGHT_SKIN: Final = (50, 280, 4, 205, 425, 101, 330)
DARK = np.array([58.0, 23.0, 24.0], np.float32)
TEETH = np.array([214.0, 203.0, 190.0], np.float32)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TONGUE = np.array([138.0, 66.0, 66.0], np.float32)
# All in mouth widths.
#: How far the upper teeth reach below where the lips meet at rest, and the most and least that shows of them.
TEETH_BELOW_SEAM, MOST_TEETH, LEAST_TEETH = 0.065, 0.17, 0.06
#: Where neighbouring upper teeth meet, from the middle.
TOOTH_EDGES: Final = (0.0, 0.155, 0.275, 0.38)
#: Gap between which a photo counts as showing the inside of its mouth.
_PHOTO_SHUT, _PHOTO_OPEN = 0.03, 0.07
FEATHER = 0.05  # over which the drawn lips go over into the warped photo


@dataclass(frozen=True)
class MouthPlate:
    """The mouth of a photo, measured once.

    Attributes:
        photo: ``[S, S, 3]``.
        frame, edges: of the mouth; outer upper, inner upper, inner lower, outer lower edge of the lips.
        nose_length: pixels from the nose's root to its base.
        nose_base: ``[2]``, in the frame.
        seam: where the lips meet or, open, where the upper one ends: height in the frame.
        shows: how much the photo shows the inside of its mouth, 0..1.
        light: how brightly the photo is lit, about 1.
        colour: how much colour the photo has, 0 (a pencil drawing) to 1.
    """

    photo: Picture
    frame: FeatureFrame
    edges: EdgeTable
    nose_length: float
    nose_base: Float32
    seam: float
    shows: float
    light: float
    colour: float


def mouth_plate(photo: Picture, landmarks: Float32) -> MouthPlate:
    """Measure a photo's mouth; ``landmarks`` ``[478, >=2]`` in its pixels."""
    frame, edges = _lips(landmarks)
    _, upper, _, _ = edges.at(EdgeTable.index(np.linspace(0.25, 0.75, 11, dtype=np.float32)))
    return MouthPlate(
        photo,
        frame,
        edges,
        _nose_length(landmarks),
        frame.to_local(landmarks[NOSE_BASE]),
        float(upper.mean()),
        _shows(photo, frame, edges),
        *_light_and_colour(photo, landmarks),
    )


def draw_mouth(picture: Picture, shown: Float32, plate: MouthPlate) -> None:
    """Draw lips and mouth over the warped photo, in place.

    The flow is smooth and cannot part lips that touch in the photo; here each edge is placed by itself.

    Args:
        picture: ``[S, S, 3]``, the photo warped by the mesh flow.
        shown: landmarks ``[478, >=2]`` to be shown, pixels of ``picture``.
        plate: of the photo.
    """
    frame, edges = _lips(shown)
    window = frame.window((-0.1, 1.1), _reach(edges), picture.shape[0])
    if window is None:
        return
    u, v = frame.local_grid(window)
    index = EdgeTable.index(u)
    outer_upper, inner_upper, inner_lower, outer_lower = edges.at(index)
    was_outer_upper, was_upper, was_lower, was_outer_lower = plate.edges.at(index)
    gap = inner_lower - inner_upper
    pixel = 1.0 / max(frame.width, 1.0)

    # Each lip by itself, over its edge by a pixel; where the photo shows teeth, not so far.
    over = (1.0 - plate.shows) * pixel - 0.5 * plate.shows * pixel
    upper_scale = (was_upper - was_outer_upper) / np.maximum(inner_upper - outer_upper, 1e-3)
    lower_scale = (was_outer_lower - was_lower) / np.maximum(outer_lower - inner_lower, 1e-3)
    from_upper = was_upper + np.minimum((v - inner_upper) * upper_scale, over)
    from_lower = was_lower + np.maximum((v - inner_lower) * lower_scale, -over)
    upper_lip = _sampled(plate.photo, *plate.frame.to_pixels(u, from_upper))
    lower_lip = _sampled(plate.photo, *plate.frame.to_pixels(u, from_lower))

    in_upper = smoothstep((inner_upper - v) / edges.steepness(1, index), -pixel, pixel)[..., None]
    in_lower = smoothstep((v - inner_lower) / edges.steepness(2, index), -pixel, pixel)[..., None]
    both = 0.5 * (upper_lip + lower_lip)
    behind = both
    if float(gap.max()) > 0.5 * pixel:
        parted = smoothstep(gap, 0.4 * pixel, 0.4 * pixel + 0.035)[..., None]
        inside = _inside(u, v, inner_upper, gap, _skull_to_photo(frame, shown, plate), plate)
        behind = both + parted * (inside - both)
    drawn = in_upper * upper_lip + (1 - in_upper) * (in_lower * lower_lip + (1 - in_lower) * behind)
    if plate.shows > 0:
        # lips that the photo shows apart have no line between them yet
        line = np.exp(-(((v - 0.5 * (inner_upper + inner_lower)) / (1.3 * pixel)) ** 2))
        meeting = 1.0 - smoothstep(gap, 0.0, 0.05)
        along = smoothstep(u, 0.02, 0.15) * smoothstep(1.0 - u, 0.02, 0.15)
        drawn *= 1.0 - (0.45 * plate.shows) * (line * meeting * along)[..., None]

    mask = smoothstep(v - outer_upper, -FEATHER, 0.0) * smoothstep(outer_lower - v, -FEATHER, 0.0)
    mask *= smoothstep(u, -0.05, 0.04) * smoothstep(1.0 - u, -0.05, 0.04)
    under_it = picture[window].astype(np.float32)
    result = under_it + mask[..., None] * (drawn - under_it)
    picture[window] = np.rint(np.clip(result, 0, 255)).astype(np.uint8)


def _lips(landmarks: Float32) -> tuple[FeatureFrame, EdgeTable]:
    """The mouth's frame and the four edges of its lips, which never cross."""
    frame = FeatureFrame.between(landmarks[LEFT_CORNER], landmarks[RIGHT_CORNER])
    edges = EdgeTable(
        [
            frame.to_local(landmarks[edge])
            for edge in (
                face.LIP_OUTER_UPPER, face.LIP_INNER_UPPER, face.LIP_INNER_LOWER, face.LIP_OUTER_LOWER
            )
        ]
    )  # fmt: skip
    heights = edges.heights
    middle = 0.5 * (heights[1] + heights[2])
    heights[1] = np.minimum(heights[1], middle)
    heights[2] = np.maximum(heights[2], middle)
    heights[0] = np.minimum(heights[0], heights[1])
    heights[3] = np.maximum(heights[3], heights[2])
    return frame, edges


def _reach(edges: EdgeTable) -> tuple[float, float]:
    """Heights between which there is something to draw, bounded for impossible landmarks."""
    top, bottom = float(edges.heights[0].min()), float(edges.heights[3].max())
    return max(top, -2.0) - 2 * FEATHER, min(bottom, 2.0) + 2 * FEATHER


def _nose_length(landmarks: Float32) -> float:
    return max(float(np.hypot(*(landmarks[NOSE_BASE, :2] - landmarks[NASION, :2]))), 1.0)


@dataclass(frozen=True)
class _SkullMap:
    """From the shown mouth's frame to the photo's, for what is fixed to the skull: ``a * (u, v) + b``."""

    scale: float
    shift: Float32

    def __call__(self, u: Float32, v: Float32) -> tuple[Float32, Float32]:
        return (
            np.asarray(self.scale * u + self.shift[0], np.float32),
            np.asarray(self.scale * v + self.shift[1], np.float32),
        )


def _skull_to_photo(frame: FeatureFrame, shown: Float32, plate: MouthPlate) -> _SkullMap:
    """Upper teeth keep their distance to the nose and their size, however the lips move."""
    growth = float(np.clip(_nose_length(shown) / plate.nose_length, 0.6, 1.6))
    scale = frame.width / (plate.frame.width * growth)
    return _SkullMap(scale, plate.nose_base - np.float32(scale) * frame.to_local(shown[NOSE_BASE]))


def _inside(
    u: Float32, v: Float32, inner_upper: Float32, gap: Float32, to_photo: _SkullMap, plate: MouthPlate
) -> Float32:
    """The inside of the mouth: the photo's own where it shows one, else dark with a hint of upper teeth."""
    depth = v - inner_upper
    sides = 1.0 - np.abs(2.0 * u - 1.0)
    photo_u, photo_v = to_photo(u, v)
    colour = DARK * (0.55 + 0.45 * smoothstep(sides, 0.0, 0.7))[..., None]
    tongue = smoothstep(depth - 0.55 * gap, 0.0, 0.22) * smoothstep(sides, 0.1, 0.6)
    tongue *= smoothstep(gap, 0.1, 0.3)
    colour = colour + 0.7 * tongue[..., None] * (TONGUE - colour)

    if plate.shows < 1.0:
        teeth, shade = _upper_teeth(photo_u, photo_v, depth, gap, to_photo.scale, plate)
        teeth = teeth * (1.0 - plate.shows)
        colour = colour + teeth[..., None] * (TEETH * shade[..., None] - colour)
    grey = colour @ LUMA
    colour = plate.light * (grey[..., None] + plate.colour * (colour - grey[..., None]))
    # lips throw a shadow inwards
    colour *= (0.6 + 0.4 * smoothstep(depth, 0.0, 0.07) * smoothstep(gap - depth, 0.0, 0.05))[..., None]
    if plate.shows > 0.0:
        _, was_upper, was_lower, _ = plate.edges.at(EdgeTable.index(photo_u))
        margin = 0.012
        own = _sampled(plate.photo, *plate.frame.to_pixels(photo_u, np.maximum(photo_v, was_upper + margin)))
        # a mouth no more open than the photo's shows what the photo shows, down to the lower lip
        was_open = float((plate.edges.heights[2] - plate.edges.heights[1]).max())
        more = smoothstep(np.array(to_photo.scale * float(gap.max()) - was_open, np.float32), 0.0, 0.06)
        share = 1.0 + more * (smoothstep(was_lower - photo_v, margin, 0.06) - 1.0)
        share *= smoothstep(was_lower - was_upper, 0.01, 0.04) * plate.shows
        colour = colour + share[..., None] * (own - colour)
    return np.asarray(colour, np.float32)


def _upper_teeth(
    u: Float32, v: Float32, depth: Float32, gap: Float32, scale: float, plate: MouthPlate
) -> tuple[Float32, Float32]:
    """Where the upper teeth are, 0..1, and how bright; ``u`` and ``v`` in the photo's frame."""
    aside = np.abs(u - plate.nose_base[0])
    edge = plate.seam + TEETH_BELOW_SEAM - 0.35 * aside**2
    nearest = np.min([np.abs(aside - tooth) for tooth in TOOTH_EDGES], axis=0)
    edge = edge - 0.012 * (1.0 - smoothstep(nearest, 0.0, 0.035))  # rounded corners
    # in the shown frame's measure: from the lip's edge to the teeth's
    reach = depth + (edge - v) / scale
    least = np.minimum(LEAST_TEETH, 0.3 * gap) * (1.0 - smoothstep(aside, 0.15, 0.4))
    reach = np.clip(reach, least, np.minimum(MOST_TEETH, 0.75 * gap))
    teeth = smoothstep(reach - depth, -0.008, 0.012) * (1.0 - smoothstep(aside, 0.3, 0.46))
    shade = 0.86 - 0.45 * smoothstep(aside, 0.08, 0.42)
    shade = shade * (1.0 - 0.14 * np.exp(-((nearest / 0.012) ** 2)))
    return np.asarray(0.92 * teeth, np.float32), np.asarray(shade, np.float32)


def _shows(photo: Picture, frame: FeatureFrame, edges: EdgeTable) -> float:
    """How much a photo shows the inside of its mouth, 0..1.

    The landmarks' gap alone is not enough: on some smiles with closed lips the detector sees one. Teeth are
    less red than lips or brighter, and a hollow is darker.
    """
    u = np.linspace(0.3, 0.7, 9, dtype=np.float32)
    outer_upper, upper, lower, outer_lower = edges.at(EdgeTable.index(u))

    def colour(*heights: Float32) -> Float32:
        places = [frame.to_pixels(u, height) for height in heights]
        return np.concatenate([_sampled(photo, x[None], y[None])[0] for x, y in places]).mean(0) + 1.0

    inside = colour(*(upper + share * (lower - upper) for share in (0.25, 0.5, 0.75)))
    lips = colour(0.5 * (outer_upper + upper), 0.5 * (outer_lower + lower))
    redness = np.array((inside[0] / inside[1]) / (lips[0] / lips[1]), np.float32)
    brightness = np.array(inside.mean() / lips.mean(), np.float32)
    teeth = 1.0 - smoothstep(redness - 0.3 * np.clip(brightness - 0.9, 0, 0.3), 0.82, 0.9)
    hollow = 1.0 - smoothstep(brightness, 0.45, 0.7)
    gap = np.array((lower - upper).max(), np.float32)
    return float(smoothstep(gap, _PHOTO_SHUT, _PHOTO_OPEN) * np.maximum(teeth, hollow))


def _light_and_colour(photo: Picture, landmarks: Float32) -> tuple[float, float]:
    """How brightly a photo is lit, about 1, and how much colour it has, 0..1: judged by skin of the face."""
    points = np.clip(np.rint(landmarks[list(_BRIGHT_SKIN), :2]).astype(int), 0, photo.shape[0] - 1)
    skin = photo[points[:, 1], points[:, 0]].astype(np.float32)
    brightness = float(skin.max(axis=1).mean())
    colour = float(np.median(np.ptp(skin, axis=1) / np.maximum(skin.max(axis=1), 1.0)))
    return float(np.clip(0.42 + 0.62 * brightness / 255.0, 0.5, 1.0)), float(np.clip(colour / 0.12, 0, 1))


def _sampled(picture: Picture, x: Float32, y: Float32) -> Float32:
    return cv2.remap(
        picture, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)
