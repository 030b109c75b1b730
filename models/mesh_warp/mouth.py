"""Draws the mouth: lips from the photo, placed edge by edge, and behind them what the photo never showed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.compiled import float32, uint8
from models.landmarks import topology as face
from models.mesh_warp.feature_frame import EdgeTable, FeatureFrame, smoothstep
from models.mesh_warp.mouth_pixels import (
    LEFT_CORNER,
    NOSE_BASE,
    RIGHT_CORNER,
    Lips,
    Mouth,
    keep_mouth,
    lip_edges,
    nose_length,
    paint_mouth,
)

Picture = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_BRIGHT_SKIN: Final = (50, 280, 4, 205, 425, 101, 330)
#: Skin in white light, its mean 1; and how much of what differs from it is the light's doing.
_SKIN: Final = np.array([1.25, 0.95, 0.8], np.float32)
_TINT: Final = 0.7
#: Gap between which a photo counts as showing the inside of its mouth.
_PHOTO_SHUT, _PHOTO_OPEN = 0.03, 0.07
_LIPS: Final = Lips(face.LIP_OUTER_UPPER, face.LIP_INNER_UPPER, face.LIP_INNER_LOWER, face.LIP_OUTER_LOWER)


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
        light: how brightly the photo is lit, about 1, and in which colour: ``[3]``.
        colour: how much colour the photo has, 0 (a pencil drawing) to 1.
    """

    photo: Picture
    frame: FeatureFrame
    edges: EdgeTable
    nose_length: float
    nose_base: Float32
    seam: float
    shows: float
    light: Float32
    colour: float

    @cached_property
    def mouth(self) -> Mouth:
        """The same for :func:`paint_mouth`."""
        nose_u, nose_v = self.nose_base.tolist()
        red, green, blue = self.light.tolist()
        return Mouth(
            uint8(self.photo),
            self.frame.pixels,
            self.edges.heights,
            self.nose_length,
            nose_u,
            nose_v,
            self.seam,
            self.shows,
            red,
            green,
            blue,
            self.colour,
        )


def mouth_plate(photo: Picture, landmarks: Float32) -> MouthPlate:
    """Measure a photo's mouth; ``landmarks`` ``[478, >=2]`` in its pixels."""
    frame = FeatureFrame.between(landmarks[LEFT_CORNER], landmarks[RIGHT_CORNER])
    landmarks = float32(landmarks)
    edges = EdgeTable(lip_edges(frame.pixels, landmarks, _LIPS))
    _, upper, _, _ = edges.at(EdgeTable.index(np.linspace(0.25, 0.75, 11, dtype=np.float32)))
    return MouthPlate(
        photo,
        frame,
        edges,
        nose_length(landmarks),
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
    paint_mouth(picture, float32(shown), _LIPS, plate.mouth)


def keep_open_mouth(picture: Picture, drawn: Picture, shown: Float32) -> None:
    """Bring an open mouth back as :func:`draw_mouth` drew it, in place.

    A network that saw few wide open mouths fills them, and the lips, with the pale mean of all it saw there.

    Args:
        picture: ``[S, S, 3]``, what a network made of ``drawn``.
        drawn: ``[S, S, 3]``, the warped photo with its mouth drawn.
        shown: landmarks ``[478, >=2]`` to be shown, pixels.
    """
    keep_mouth(picture, uint8(drawn), float32(shown), _LIPS)


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


def _light_and_colour(photo: Picture, landmarks: Float32) -> tuple[Float32, float]:
    """How brightly, and in which colour, a photo is lit, and how much colour it has, 0..1: judged by skin."""
    points = np.clip(np.rint(landmarks[list(_BRIGHT_SKIN), :2]).astype(int), 0, photo.shape[0] - 1)
    skin = photo[points[:, 1], points[:, 0]].astype(np.float32)
    brightness = float(skin.max(axis=1).mean())
    strength = float(np.clip(0.42 + 0.62 * brightness / 255.0, 0.5, 1.0))
    mean = skin.mean(axis=0) + 1.0
    shade = mean / mean.mean()
    tint = np.clip(shade / _SKIN, 0.6, 1.6) ** _TINT
    colour = float(np.median(np.ptp(skin, axis=1) / np.maximum(skin.max(axis=1), 1.0)))
    colour = float(np.clip(colour / 0.12, 0, 1))
    # skin without colour says nothing of the light: all of such a picture has the paper's tone
    return float32(strength * (shade + colour * (tint - shade))), colour


def _sampled(picture: Picture, x: Float32, y: Float32) -> Float32:
    return cv2.remap(
        picture, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)
