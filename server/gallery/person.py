"""A person who never was: proportions and colours, and where the face's landmarks come to lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from models.landmarks import topology as face
from server.gallery.painter import SIZE, Layer, Points

Colour = tuple[int, int, int]
Hair = Literal["short", "bob", "long", "curly", "bun", "side"]

_FACE_SHARE = 0.172  # of the canvas, for a unit of the canonical face


@dataclass(frozen=True)
class Person:
    """What somebody looks like. Factors are 1 for the average face.

    Attributes:
        skin, hair_colour, eye_colour, lip_colour, clothes: RGB.
        background: RGB above and below.
        hair: its cut.
        width, jaw, eyes, nose, lips, brows: sizes of features.
        beard: 0 none .. 1 thick.
        seed: of every stroke.
    """

    skin: Colour
    hair_colour: Colour
    eye_colour: Colour
    lip_colour: Colour
    clothes: Colour
    background: tuple[Colour, Colour]
    hair: Hair
    width: float = 1.0
    jaw: float = 1.0
    eyes: float = 1.0
    nose: float = 1.0
    lips: float = 1.0
    brows: float = 1.0
    beard: float = 0.0
    glasses: bool = False
    earrings: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Head:
    """Where a person's head lies on the canvas; lengths in pixels.

    Attributes:
        points: landmarks ``[478, 3]``.
        centre: of the face.
        half: half of the face's width.
        height: of the face, crown of the oval to chin.
    """

    points: Points
    centre: Points
    half: float
    height: float

    @property
    def xy(self) -> Points:
        """Landmarks in the picture's plane, ``[478, 2]``."""
        return self.points[:, :2]

    @property
    def crown(self) -> Points:
        """Top of the forehead."""
        return self.xy[10]

    @property
    def chin(self) -> Points:
        """Its lowest point."""
        return self.xy[152]

    def at(self, places: npt.ArrayLike) -> Points:
        """Pixels of places given in half widths from the middle and face heights below the crown."""
        places = np.asarray(places, np.float64)
        return np.array([self.centre[0], self.crown[1]]) + places * [self.half, self.height]


def head_of(person: Person) -> Head:
    """The average face in this person's proportions."""
    points = face.canonical_face()

    def resize(indices: face.Indices, across: float, down: float) -> None:
        centre = points[indices].mean(0)
        points[indices] = centre + (points[indices] - centre) * [across, down, 1.0]

    for group in ("right_eye", "left_eye"):
        resize(face.SEMANTIC_GROUPS[group], 1 + 0.6 * (person.eyes - 1), person.eyes)
    for iris in (face.RIGHT_IRIS, face.LEFT_IRIS):
        resize(iris, 1 + 0.7 * (person.eyes - 1), 1 + 0.7 * (person.eyes - 1))
    for group in ("right_eyebrow", "left_eyebrow"):
        resize(face.SEMANTIC_GROUPS[group], 1.0, person.brows)
    resize(face.SEMANTIC_GROUPS["nose"], person.nose, 1.0)
    resize(face.SEMANTIC_GROUPS["mouth"], 1 + 0.5 * (person.lips - 1), person.lips)
    lower = np.clip((points[:, 1] - 0.2) / 1.3, 0.0, 1.0)
    points[:, 0] *= person.width * (1 + (person.jaw - 1) * lower)
    points = points * (SIZE * _FACE_SHARE) + [SIZE / 2, SIZE * 0.5, 0.0]
    oval = points[face.FACE_OVAL, :2]
    width, height = np.ptp(oval, axis=0)
    return Head(points, oval.mean(0), float(width) / 2, float(height))


def surface_normals(points: Points) -> Layer:
    """Normals of the face between its landmarks, ``[768, 768, 3]``, softened; zero outside of it."""
    surface = points[:468].astype(np.float32)
    division = cv2.Subdiv2D((0, 0, SIZE, SIZE))
    for x, y in surface[:, :2]:
        division.insert((float(x), float(y)))
    normals = np.zeros((SIZE, SIZE, 3), np.float32)
    for triangle in np.asarray(division.getTriangleList()).reshape(-1, 3, 2):
        nearest = [int(np.abs(surface[:, :2] - corner).sum(1).argmin()) for corner in triangle]
        a, b, c = surface[nearest]
        if np.abs(surface[nearest, :2] - triangle).max() > 0.5:
            continue  # of the division's own outer corners
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal) + 1e-9
        normal = -normal if normal[2] > 0 else normal  # towards the viewer
        corners = np.round(triangle).astype(np.int32)
        cv2.fillConvexPoly(normals, corners, tuple(float(value) for value in normal))
    return np.asarray(cv2.GaussianBlur(normals, (0, 0), 9.0), np.float32)
