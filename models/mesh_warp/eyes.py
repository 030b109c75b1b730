"""Draws the eyes: lids pulled over a still eyeball, and irises that turn on it."""

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

#: (lid corner on the picture's left, on its right, upper lid, lower lid, iris: centre and rim)
EYES: Final = (
    (33, 133, face.RIGHT_EYE_UPPER, face.RIGHT_EYE_LOWER, face.RIGHT_IRIS),
    (362, 263, face.LEFT_EYE_UPPER, face.LEFT_EYE_LOWER, face.LEFT_IRIS),
)
# All in eye widths.
#: Skin that is pulled, above the upper and below the lower lid, and what of it by the lid keeps its size.
UPPER_SKIN, LOWER_SKIN, MARGIN = 0.34, 0.22, 0.06
#: Lashes and their shadow inside the opening, which move with the lid.
UPPER_LASHES, LOWER_LASHES = 0.07, 0.03
#: Part of the photo around the eye that is kept.
U_RANGE, V_RANGE = (-0.12, 1.12), (-0.75, 0.6)
#: Thickness of the line where closed lids meet, and how dark it gets.
LINE, LINE_SHARE = 0.028, 0.42


@dataclass(frozen=True)
class EyePlate:
    """One eye of a photo, taken apart.

    Attributes:
        frame, lids: where the eye and its two lids are in the photo.
        corner: ``[2]`` x, y of the plates' first pixel in the photo.
        ball: ``[h, w, 3]``, the eyeball with what lids and lashes cover filled in.
        white: the same without the iris.
        iris: ``[2]``, its centre in pixels of the photo, and
        radius: its radius.
    """

    frame: FeatureFrame
    lids: EdgeTable
    corner: Float32
    ball: Picture
    white: Picture
    iris: Float32
    radius: float


def eye_plates(photo: Picture, landmarks: Float32) -> list[EyePlate | None]:
    """Take both eyes of a photo apart; None for one that lies outside it.

    Args:
        photo: ``[S, S, 3]``.
        landmarks: ``[478, >=2]``, its pixels.
    """
    plates: list[EyePlate | None] = []
    for left, right, upper, lower, iris in EYES:
        frame = FeatureFrame.between(landmarks[left], landmarks[right])
        window = frame.window(U_RANGE, V_RANGE, photo.shape[0])
        if window is None:
            plates.append(None)
            continue
        lids = EdgeTable([frame.to_local(landmarks[upper]), frame.to_local(landmarks[lower])])
        corner = np.array([window[1].start, window[0].start], np.float32)
        centre = landmarks[iris[0], :2]
        radius = max(float(np.hypot(*(landmarks[iris[1:], :2] - centre).T).mean()), 1.0)
        patch = np.ascontiguousarray(photo[window])
        u, v = frame.local_grid(window)
        above, below = lids.at(EdgeTable.index(u))
        seen = (v > above + UPPER_LASHES) & (v < below - LOWER_LASHES) & (u > 0.06) & (u < 0.94)
        ball, white = _completed(patch, seen, centre - corner, radius)
        plates.append(EyePlate(frame, lids, corner, ball, white, np.asarray(centre, np.float32), radius))
    return plates


def _completed(
    patch: Picture, seen: npt.NDArray[np.bool_], centre: Float32, radius: float
) -> tuple[Picture, Picture]:
    """The eyeball with all that is not seen of it filled in, and the same without the iris."""
    rows, columns = patch.shape[:2]
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    distance = np.hypot(x - centre[0], y - centre[1])
    disc = distance < 1.05 * radius
    if seen.sum() < 8 or not (seen & disc).any():
        return patch, patch
    # an iris is round: what the lid covers above is what is seen below
    ball = patch.copy()
    mirrored_y = 2 * centre[1] - y
    mirrored = cv2.remap(patch, x, mirrored_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mirror_seen = cv2.remap(seen.astype(np.uint8), x, mirrored_y, cv2.INTER_NEAREST) > 0
    ball[disc & ~seen] = patch[disc & seen].mean(0)
    taken = disc & ~seen & mirror_seen
    ball[taken] = mirrored[taken]
    known = seen | disc
    ball = cv2.inpaint(ball, (~known).astype(np.uint8), 2, cv2.INPAINT_TELEA)
    sclera = seen & (distance > 1.25 * radius)
    if sclera.sum() < 8:
        return ball, ball
    white = cv2.inpaint(patch, (~sclera).astype(np.uint8), 2, cv2.INPAINT_TELEA)
    return ball, cv2.GaussianBlur(white, (0, 0), max(0.08 * radius, 0.3))


def eyes_in_frames(photo: Float32) -> Float32:
    """Lids and irises of landmarks ``[478, >=2]``, each in its eye's frame: ``[2, n, 2]``."""
    local = []
    for left, right, upper, lower, iris in EYES:
        frame = FeatureFrame.between(photo[left], photo[right])
        local.append(frame.to_local(photo[np.concatenate([upper, lower, iris])]))
    return np.stack(local).astype(np.float32)


def with_open_eyes(landmarks: Float32, photo: Float32) -> Float32:
    """Landmarks whose lids and irises are as in the photo; the flow is made from these.

    Lids are a few pixels apart, less than a splat is wide: moving them by the flow would squeeze the
    eyeball instead of covering it.

    Args:
        landmarks: ``[478, >=2]`` as they should be shown, pixels.
        photo: ``[478, >=2]`` of the photo, pixels.
    """
    opened = landmarks.copy()
    for left, right, upper, lower, iris in EYES:
        here = FeatureFrame.between(landmarks[left], landmarks[right])
        there = FeatureFrame.between(photo[left], photo[right])
        own = np.concatenate([upper, lower, iris])
        local = there.to_local(photo[own])
        opened[own, 0], opened[own, 1] = here.to_pixels(local[:, 0], local[:, 1])
    return opened


def draw_eyes(picture: Picture, shown: Float32, opened: Float32, plates: list[EyePlate | None]) -> None:
    """Set lids and irises as they should be, in place.

    Args:
        picture: ``[S, S, 3]``, warped with the eyes open.
        shown: landmarks ``[478, >=2]`` as they should be, pixels of the picture.
        opened: what :func:`with_open_eyes` gave for them.
        plates: of the photo.
    """
    for (left, right, upper, lower, iris), plate in zip(EYES, plates, strict=True):
        frame = FeatureFrame.between(opened[left], opened[right])
        window = frame.window(U_RANGE, V_RANGE, picture.shape[0])
        if window is None or plate is None:
            continue
        u, v = frame.local_grid(window)
        lids = EdgeTable([frame.to_local(points) for points in (opened[upper], opened[lower])])
        lids_to = EdgeTable([frame.to_local(points) for points in (shown[upper], shown[lower])])
        index = EdgeTable.index(u)
        above, below = lids.at(index)
        to_above, to_below = lids_to.at(index)
        to_above, to_below = np.minimum(to_above, to_below), np.maximum(to_above, to_below)
        pixel = 1.0 / max(frame.width, 1.0)

        upper_skin = _pulled(v, above, to_above, -UPPER_SKIN)
        lower_skin = _pulled(v, below, to_below, LOWER_SKIN)
        over = _sampled(picture, *frame.to_pixels(u, upper_skin))
        under = _sampled(picture, *frame.to_pixels(u, lower_skin))
        seam = 0.5 * (to_above + to_below)
        share = smoothstep(v - seam, -pixel, pixel)[..., None]
        skin = over + share * (under - over)

        turn = frame.to_local(shown[iris[0]]) - plate.frame.to_local(plate.iris)
        ball = _eyeball(plate, u, v, turn)
        room = to_below - to_above
        upper_band = np.minimum(UPPER_LASHES, 0.45 * room) + pixel
        lower_band = np.minimum(LOWER_LASHES, 0.25 * room) + pixel
        is_open = _ramp((v - to_above) / upper_band) * _ramp((to_below - v) / lower_band)
        is_open *= smoothstep(room, 0.5 * pixel, 2.5 * pixel)
        result = skin + is_open[..., None] * (ball - skin)

        # what was the white of the eye is now the lid's edge: lashes make it dark
        inside = smoothstep(u, 0.0, 0.15) * (1.0 - smoothstep(u, 0.85, 1.0))
        fall = np.clip((to_above - above) / np.maximum(below - above, 0.05), 0.0, 1.0)
        thickness = max(LINE, 0.9 * pixel)
        line = LINE_SHARE * inside * fall * np.exp(-(((v - to_above) / thickness) ** 2))
        result *= 1.0 - line[..., None]
        picture[window] = np.rint(np.clip(result, 0, 255)).astype(np.uint8)


def _pulled(v: Float32, edge: Float32, to_edge: Float32, skin: float) -> Float32:
    """From where a lid's skin is taken when its edge moves from ``edge`` to ``to_edge``.

    ``skin`` is how far it reaches from the edge, negative upwards. Next to the edge, and inside the
    opening, it moves as it is; beyond, it is stretched; farther out it stays.
    """
    sign = np.float32(1.0 if skin > 0 else -1.0)
    away = (v - to_edge) * sign  # from the lid's edge into its skin
    moved = (to_edge - edge) * sign
    reach = abs(skin)
    room = np.maximum(reach - MARGIN - moved, 0.03)  # what is left of the skin between margin and end
    stretched = MARGIN + (away - MARGIN) * ((reach - MARGIN) / room)
    source = np.where(away < MARGIN, away, np.where(away < MARGIN + room, stretched, away + moved))
    return np.asarray(edge + sign * source, np.float32)


def _eyeball(plate: EyePlate, u: Float32, v: Float32, turn: Float32) -> Float32:
    """The eyeball at places of the eye's frame, its iris turned by ``turn`` (in eye widths)."""
    x, y = plate.frame.to_pixels(u, v)
    x -= plate.corner[0]
    y -= plate.corner[1]
    ball = _sampled(plate.ball, x, y)
    along, across = plate.frame.along, plate.frame.across
    dx, dy = (turn[0] * along + turn[1] * across).tolist()
    moved = float(np.hypot(dx, dy))
    share = min(moved / (0.15 * plate.radius), 1.0)  # at rest the photo itself is shown
    if share < 0.02:
        return ball
    cx, cy = (plate.iris - plate.corner).tolist()
    distance = np.hypot(x - cx - dx, y - cy - dy) / plate.radius
    iris = 1.0 - smoothstep(distance, 1.06, 1.24)
    turned = _sampled(plate.ball, x - np.float32(dx), y - np.float32(dy))
    white = _sampled(plate.white, x, y)
    eye = white + iris[..., None] * (turned - white)
    return np.asarray(ball + share * (eye - ball), np.float32)


def _sampled(picture: Picture, x: Float32, y: Float32) -> Float32:
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _ramp(x: Float32) -> Float32:
    return smoothstep(x, 0.0, 1.0)
