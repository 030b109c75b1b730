"""Paints a person's portrait: body, lit face, eyes, brows, nose, lips, and what they wear."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from server.gallery.hair import paint_hair_behind, paint_hair_front
from server.gallery.painter import SIZE, Layer, Painter, ellipse, smooth
from server.gallery.person import Head, Person, head_of, surface_normals

Picture = npt.NDArray[np.uint8]

_LIGHT = np.array([-0.42, -0.5, -0.76], np.float32)  # from the upper left, before the face
_FRAME = (42, 35, 38)


def paint_portrait(person: Person) -> Picture:
    """The portrait, ``[768, 768, 3]`` RGB, the same at every call."""
    random = np.random.default_rng(person.seed)
    head = head_of(person)
    painter = Painter(*person.background)
    skin = np.array(person.skin, np.float32)
    shadow = skin * np.array([0.62, 0.5, 0.48], np.float32)
    paint_hair_behind(painter, person, head, random)
    _paint_body(painter, person, head, skin, shadow)
    _paint_ears(painter, person, head, skin, shadow)
    _paint_skin(painter, head, skin, shadow)
    if person.beard:
        _paint_beard(painter, person, head, random)
    _paint_nose(painter, head, skin, shadow)
    _paint_lips(painter, person, head)
    for side in ("right", "left"):
        _paint_eye(painter, person, head, side, shadow)
        _paint_brow(painter, person, head, side, random)
    if person.glasses:
        _paint_glasses(painter, head)
    paint_hair_front(painter, person, head, random)
    return painter.picture()


def _paint_body(painter: Painter, person: Person, head: Head, skin: Layer, shadow: Layer) -> None:
    neck = [[-0.54, 0.75], [0.54, 0.75], [0.56, 1.2], [1.0, 1.42], [-1.0, 1.42], [-0.56, 1.2]]
    painter.paint(painter.mask(smooth(head.at(neck)), 1.5), skin * 0.86)
    under_chin = [[-0.6, 0.8], [0.6, 0.8], [0.5, 1.1], [0.0, 1.16], [-0.5, 1.1]]
    painter.paint(painter.mask(smooth(head.at(under_chin)), 8), shadow, 0.7)
    body = head.at(
        [[-0.66, 1.22], [-1.5, 1.36], [-2.4, 1.56], [-2.8, 2.4], [2.8, 2.4], [2.4, 1.56], [1.5, 1.36],
         [0.66, 1.22], [0.36, 1.38], [0.0, 1.45], [-0.36, 1.38]]
    )  # fmt: skip
    light = np.linspace(1.15, 0.75, SIZE, dtype=np.float32)[None, :, None]
    cloth = np.asarray(person.clothes, np.float32)
    painter.paint(painter.mask(smooth(body), 1.2), np.broadcast_to(cloth, (SIZE, SIZE, 3)) * light)
    painter.stroke(smooth(body[[7, 8, 9, 10, 0]], closed=False), cloth * 0.6, 5, 0.8, 1.5)


def _paint_ears(painter: Painter, person: Person, head: Head, skin: Layer, shadow: Layer) -> None:
    for side in (-1, 1):
        ear = head.centre + [side * head.half * 1.03, 0.0]
        painter.paint(painter.mask(ellipse(ear, 0.13 * head.half, 0.125 * head.height), 1.2), skin * 0.9)
        painter.paint(painter.mask(ellipse(ear, 0.07 * head.half, 0.07 * head.height), 4), shadow, 0.6)
        if person.earrings:
            lobe = ear + [side * head.half * 0.03, head.height * 0.16]
            painter.paint(
                painter.mask(ellipse(lobe, 0.05 * head.half, 0.05 * head.half), 0.8), (230, 200, 120)
            )


def _paint_skin(painter: Painter, head: Head, skin: Layer, shadow: Layer) -> None:
    """The face's surface, lit, with a blush on the cheeks."""
    normals = surface_normals(head.points)
    lit = np.clip((normals * _LIGHT).sum(-1) * 1.25 + 0.12, 0, 1.15)
    lit = np.where(np.abs(normals).sum(-1) > 0.05, lit, 0.7).astype(np.float32)
    tone = cv2.GaussianBlur(lit, (0, 0), 3)[..., None]
    colour = shadow + np.clip((tone - 0.35) / 0.55, 0, 1) * (skin - shadow)
    colour = colour + np.clip(tone - 0.95, 0, 0.25) * (255 - skin) * 1.1
    painter.paint(painter.mask(smooth(head.xy[face.FACE_OVAL]), 1.5), colour)
    for cheek in (50, 280):
        spot = ellipse(head.xy[cheek] + [0, 0.03 * head.height], 0.3 * head.half, 0.09 * head.height)
        painter.paint(painter.mask(spot, 14), skin * [1.0, 0.72, 0.68], 0.3)


def _paint_nose(painter: Painter, head: Head, skin: Layer, shadow: Layer) -> None:
    xy, half = head.xy, head.half
    for bridge, opacity in (([193, 122, 196, 236, 198, 126], 0.16), ([417, 351, 419, 456, 420, 355], 0.34)):
        painter.paint(painter.mask(smooth(xy[bridge]), 8), shadow, opacity)
    for nostril, side in ((98, 1), (327, -1)):
        at = xy[nostril] + [side * 0.035 * half, -0.012 * half]
        painter.paint(painter.mask(ellipse(at, 0.058 * half, 0.028 * half), 1.6), shadow * 0.55, 0.85)
    painter.stroke(smooth(xy[face.NOSE_BASE], closed=False), shadow * 0.8, 1.6, 0.45, 2.2)
    for wing in ([129, 64, 98], [358, 294, 327]):
        painter.stroke(smooth(xy[wing], closed=False), shadow * 0.8, 1.6, 0.5, 1.8)
    tip = ellipse(xy[4] - 0.03 * half, 0.035 * half, 0.035 * half)
    painter.paint(painter.mask(tip, 4), skin * 0.5 + 128, 0.6)


def _paint_lips(painter: Painter, person: Person, head: Head) -> None:
    xy, lip = head.xy, np.array(person.lip_colour, np.float32)
    upper = np.concatenate([xy[face.LIP_OUTER_UPPER], xy[face.LIP_INNER_UPPER][::-1]])
    lower = np.concatenate([xy[face.LIP_INNER_LOWER], xy[face.LIP_OUTER_LOWER][::-1]])
    painter.paint(painter.mask(smooth(upper, steps=4), 1.4), lip * 0.82, 0.95)
    painter.paint(painter.mask(smooth(lower, steps=4), 1.4), lip, 0.95)
    middle = (xy[face.LIP_INNER_UPPER] + xy[face.LIP_INNER_LOWER]) / 2
    painter.stroke(smooth(middle, closed=False), lip * 0.32, 2.0, 0.9, 1.0)
    shine = 0.55 * xy[[84, 17, 314]] + 0.45 * xy[[87, 14, 317]]
    painter.stroke(smooth(shine, closed=False), lip * 0.4 + 150, 4, 0.3, 4)
    below = xy[[181, 84, 17, 314, 405]] + [0, 10]
    painter.stroke(smooth(below, closed=False), lip * 0.45, 5, 0.22, 6)


def _paint_eye(painter: Painter, person: Person, head: Head, side: str, shadow: Layer) -> None:
    xy = head.xy
    right = side == "right"
    upper = face.RIGHT_EYE_UPPER if right else face.LEFT_EYE_UPPER
    lower = face.RIGHT_EYE_LOWER if right else face.LEFT_EYE_LOWER
    iris = face.RIGHT_IRIS if right else face.LEFT_IRIS
    ring = smooth(np.concatenate([xy[upper], xy[lower][-2:0:-1]]), steps=5)
    around = ring - ring.mean(0)
    socket = xy[upper].mean(0) + around * [1.35, 2.0] - [0, 0.05 * head.half]
    painter.paint(painter.mask(socket, 9), shadow, 0.3)

    before, opening = painter.canvas.copy(), painter.mask(ring, 0.7)
    centre, colour = xy[iris[0]], np.array(person.eye_colour, np.float32)
    radius = float(np.linalg.norm(xy[iris[1:]] - centre, axis=1).mean()) * 1.04

    def disc(share: float, paint: Layer | tuple[int, ...], blur: float, opacity: float = 1.0,
             at: tuple[float, float] = (0.0, 0.0)) -> None:  # fmt: skip
        place = centre + np.array(at) * radius
        painter.paint(painter.mask(ellipse(place, share * radius, share * radius), blur), paint, opacity)

    painter.paint(opening, (236, 232, 228))
    disc(1.0, colour * 0.45, 0.8)
    disc(0.86, colour, 1.4)
    disc(0.5, np.minimum(colour * 1.5, 255), 3, 0.6, (0.0, 0.35))
    disc(0.44, (14, 12, 12), 0.8)
    disc(0.17, (255, 255, 255), 0.5, 1.0, (-0.3, -0.35))
    painter.shade(painter.mask(xy[upper].mean(0) + around * [1.1, 0.7] - [0, 0.35 * radius], 3), 0.62)
    painter.canvas = before + opening[..., None] * (painter.canvas - before)  # the eyeball ends at the lids

    painter.stroke(smooth(xy[upper], closed=False), (30, 20, 18), 3.0, 0.95, 0.7)
    painter.stroke(smooth(xy[lower], closed=False), shadow * 0.6, 1.2, 0.6, 0.8)
    crease = xy[upper] + (xy[upper] - xy[lower].mean(0)) * [0.06, 0.42]
    painter.stroke(smooth(crease[1:], closed=False), shadow * 0.7, 1.8, 0.55, 1.4)


def _paint_brow(painter: Painter, person: Person, head: Head, side: str, random: np.random.Generator) -> None:
    right = side == "right"
    upper = head.xy[face.RIGHT_EYEBROW_UPPER if right else face.LEFT_EYEBROW_UPPER]
    lower = head.xy[face.RIGHT_EYEBROW_LOWER if right else face.LEFT_EYEBROW_LOWER]
    colour = np.array(person.hair_colour, np.float32) * 0.62
    painter.paint(painter.mask(smooth(np.concatenate([upper, lower[::-1]]), steps=5), 2.2), colour, 0.75)
    outward = -1.0 if right else 1.0
    for _ in range(60):
        place = random.random() * 4
        index, share = min(int(place), 3), place % 1
        low = lower[index] + share * (lower[index + 1] - lower[index])
        high = upper[index] + share * (upper[index + 1] - upper[index])
        start = low + (high - low) * random.uniform(0.1, 0.6)
        end = start + (high - low) * 0.35 + [outward * random.uniform(2, 7), 0]
        painter.stroke(np.array([start, end]), colour * random.uniform(0.6, 1.1), 1, 0.5, 0.4)


def _paint_beard(painter: Painter, person: Person, head: Head, random: np.random.Generator) -> None:
    xy = head.xy
    line = xy[face.JAWLINE]
    inner = line + (xy[13] - line) * [0.30, 0.34]
    cheeks = np.concatenate([line[2:-2] + [0, 0.012 * head.height], inner[2:-2][::-1]])
    lip_side = xy[[57, 43, 106, 182, 83, 18, 313, 406, 335, 273, 287]]
    chin = np.concatenate([lip_side, xy[[397, 379, 400, 152, 176, 150, 172]]])
    under_nose = xy[[57, 186, 92, 165, 167, 164, 393, 391, 322, 410, 287]] + [0, 0.004 * head.height]
    moustache = np.concatenate([under_nose, xy[face.LIP_OUTER_UPPER][::-1] - [0, 0.008 * head.height]])
    region = np.maximum.reduce(
        [painter.mask(smooth(part, steps=4), blur) for part, blur in ((cheeks, 9), (chin, 8), (moustache, 4))]
    )
    grain = cv2.GaussianBlur(random.random((SIZE, SIZE)).astype(np.float32), (0, 0), 1.2)
    grain = np.clip((grain - 0.5) * 6 + 0.85, 0.4, 1.1)
    colour = np.array(person.hair_colour, np.float32) * 0.7
    painter.paint(np.clip(region * grain, 0, 1).astype(np.float32), colour, person.beard)


def _paint_glasses(painter: Painter, head: Head) -> None:
    xy, half = head.xy, head.half
    right, left = xy[468] + [0, 0.03 * half], xy[473] + [0, 0.03 * half]
    for eye, side in ((right, -1), (left, 1)):
        rim = ellipse(eye, 0.36 * half, 0.27 * half, squareness=0.75)
        painter.paint(painter.mask(rim, 1), (235, 240, 250), 0.1)
        painter.stroke(rim, _FRAME, 3.2, 0.95, closed=True)
        temple = np.array([eye + [side * 0.36 * half, 0], eye + [side * 0.62 * half, -0.03 * half]])
        painter.stroke(temple, _FRAME, 3.2, 0.95)
    bridge = np.array((right + [0.36 * half, 0], xy[6] - [0, 0.02 * half], left - [0.36 * half, 0]))
    painter.stroke(smooth(bridge, closed=False), _FRAME, 3.2, 0.95)
