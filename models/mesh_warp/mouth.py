"""Draws the mouth: lips from the photo, placed edge by edge, and behind them what the photo never showed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from models.mesh_warp.feature_frame import FeatureFrame, curve, smoothstep

Picture = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_LEFT_CORNER, _RIGHT_CORNER = 61, 291  # on the picture's left and right
_DARK = np.array([52.0, 22.0, 24.0], np.float32)
_TEETH = np.array([226.0, 216.0, 206.0], np.float32)
_TONGUE = np.array([140.0, 66.0, 68.0], np.float32)
#: Height of the upper teeth that show, in mouth widths.
_TEETH_HEIGHT = 0.15
#: How much a photo's own teeth may be stretched before the dark behind them shows.
_STRETCH = 1.15
_FEATHER = 0.05  # mouth widths over which the drawn lips go over into the warped photo


class _Lips:
    """The four edges of the lips in the mouth's own frame."""

    def __init__(self, landmarks: Float32) -> None:
        self.frame = FeatureFrame.between(landmarks[_LEFT_CORNER], landmarks[_RIGHT_CORNER])
        self._edges = [
            self.frame.to_local(landmarks[edge])
            for edge in (
                face.LIP_OUTER_UPPER, face.LIP_INNER_UPPER, face.LIP_INNER_LOWER, face.LIP_OUTER_LOWER
            )
        ]  # fmt: skip

    def at(self, u: Float32) -> tuple[Float32, Float32, Float32, Float32]:
        """Height of outer upper, inner upper, inner lower and outer lower edge at each ``u``."""
        outer_upper, inner_upper, inner_lower, outer_lower = (curve(edge, u) for edge in self._edges)
        middle = (inner_upper + inner_lower) / 2
        crossed = inner_upper > inner_lower
        return (
            np.minimum(outer_upper, middle),
            np.where(crossed, middle, inner_upper).astype(np.float32),
            np.where(crossed, middle, inner_lower).astype(np.float32),
            np.maximum(outer_lower, middle),
        )

    @property
    def gap(self) -> float:
        """Greatest distance of the inner edges, in mouth widths."""
        u = np.linspace(0.2, 0.8, 13, dtype=np.float32)
        _, upper, lower, _ = self.at(u)
        return float((lower - upper).max())


def draw_mouth(picture: Picture, shown: Float32, photo: Picture, photo_landmarks: Float32) -> None:
    """Draw lips and mouth over the warped photo, in place.

    The flow is smooth and cannot part lips that touch in the photo; here each edge is placed by itself.

    Args:
        picture: ``[S, S, 3]``, the photo warped by the mesh flow.
        shown: landmarks ``[478, >=2]`` to be shown, pixels of ``picture``.
        photo: ``[S, S, 3]``.
        photo_landmarks: ``[478, >=2]``, pixels of ``photo``.
    """
    here, there = _Lips(shown), _Lips(photo_landmarks)
    if abs(here.gap - there.gap) < 0.015:
        return  # the flow alone shows this mouth
    window = here.frame.window((-0.12, 1.12), (-0.75, 1.1), picture.shape[0])
    if window is None:
        return
    u, v = here.frame.local_grid(window)
    outer_upper, inner_upper, inner_lower, outer_lower = here.at(u)
    was_outer_upper, was_upper, was_lower, was_outer_lower = there.at(u)
    gap, was_gap = inner_lower - inner_upper, was_lower - was_upper

    def between(low: Float32, high: Float32, was_low: Float32, was_high: Float32) -> Float32:
        share = (v - low) / np.maximum(high - low, 1e-3)
        return was_low + share * (was_high - was_low)

    behind_lips = v - inner_upper  # below the upper lip's edge
    source = np.where(
        v < inner_upper,
        between(outer_upper, inner_upper, was_outer_upper, was_upper),
        np.where(
            v > inner_lower,
            between(inner_lower, outer_lower, was_lower, was_outer_lower),
            was_upper + np.minimum(behind_lips / _STRETCH, was_gap),
        ),
    )
    x, y = there.frame.to_pixels(u, source.astype(np.float32))
    drawn = cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)

    interior = _interior(u, behind_lips, gap, _light(photo, photo_landmarks))
    pixel = 1.0 / max(here.frame.width, 1.0)
    inside = smoothstep(v - inner_upper, -pixel, pixel) * smoothstep(inner_lower - v, -pixel, pixel)
    # the photo's own teeth as far as they reach, the dark behind them further down
    shows_photo = np.where(
        was_gap > 0.03, 1.0 - smoothstep(behind_lips / _STRETCH - was_gap, -0.04, 0.0), 0.0
    )
    opened = smoothstep(gap, 0.015, 0.06)
    share = (inside * opened * (1.0 - shows_photo))[..., None]
    drawn += share * (interior - drawn)

    mask = smoothstep(v - outer_upper, -_FEATHER, 0.0) * smoothstep(outer_lower - v, -_FEATHER, 0.0)
    mask *= smoothstep(u, -0.06, 0.04) * smoothstep(1.0 - u, -0.06, 0.04)
    under = picture[window].astype(np.float32)
    picture[window] = np.rint(under + mask[..., None] * (drawn - under)).clip(0, 255).astype(np.uint8)


def _interior(u: Float32, depth: Float32, gap: Float32, light: float) -> Float32:
    """A dark mouth with a hint of upper teeth and of the tongue; ``depth`` below the upper lip's edge."""
    sides = 1.0 - np.abs(2.0 * u - 1.0)
    vault = np.clip(0.55 + 0.6 * sides, 0.0, 1.0)[..., None]
    colour = _DARK * vault
    tongue = (
        smoothstep(depth - 0.62 * gap, 0.0, 0.12) * smoothstep(sides, 0.15, 0.6) * smoothstep(gap, 0.15, 0.3)
    )
    colour = colour + 0.7 * tongue[..., None] * (_TONGUE - colour)
    height = np.minimum(_TEETH_HEIGHT * (0.6 + 0.4 * np.sqrt(np.clip(sides, 0, 1))), 0.55 * gap)
    teeth = smoothstep(height - depth, 0.0, 0.025) * smoothstep(sides, 0.12, 0.5) * smoothstep(gap, 0.03, 0.1)
    # teeth lie in the upper lip's shadow and fade into the cheeks
    shade = (0.55 + 0.45 * smoothstep(depth, 0.0, 0.07)) * (0.55 + 0.45 * smoothstep(sides, 0.1, 0.8))
    colour = colour + 0.9 * teeth[..., None] * (_TEETH * shade[..., None] - colour)
    return np.asarray(colour * light, np.float32)


def _light(photo: Picture, landmarks: Float32) -> float:
    """How brightly the photo is lit, judged by the brightest skin between eyes and mouth."""
    points = np.rint(landmarks[[50, 280, 4, 205, 425, 101, 330], :2]).astype(int)
    points = np.clip(points, 0, photo.shape[0] - 1)
    brightness = photo[points[:, 1], points[:, 0]].max(axis=1).mean()
    return float(np.clip(0.55 + 0.5 * brightness / 255.0, 0.5, 1.05))
