"""The built-in templates ([0237]) as recipes over expression fields; writes ``builtin/`` anew.

``python -m models.templates.authoring`` writes the files that are shipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from models.landmarks import topology as face
from models.landmarks.geometry import Float64, canonical_face
from models.templates.fields import fields
from models.templates.library import BUILTIN_FOLDER
from models.templates.template import SUFFIX, Template, save_template

__all__ = ["RECIPES", "Face", "Recipe"]


_SIDE_WIDTH: Final = 0.12  # over which right goes over into left
_ALL: Final[Mapping[str, float]] = {
    "right_brow": 1.0,
    "left_brow": 1.0,
    "right_eye": 1.0,
    "left_eye": 1.0,
    "mouth": 1.0,
}
_SOURCE: Final = (
    "Fields averaged over many people (docs/templates.md); smile: mean of 72 people of the Face Research Lab "
    "London Set (DeBruine and Jones, CC-BY-4.0). Nobody's identity."
)


@dataclass(frozen=True)
class Face:
    """One keyframe: how much of each field, and what lids, eyes and head do.

    Attributes:
        whole: amounts of fields on both sides.
        right, left: amounts on the person's own right or left side only.
        lip_press: lips rolled in, 0..1.
        chin_raise: chin and lower lip pushed up, 0..1.
        lids: closure right, left; widening right, left.
        gaze: right and down, eye widths.
        head: yaw, pitch, roll, degrees.
    """

    whole: Mapping[str, float] = field(default_factory=dict)
    right: Mapping[str, float] = field(default_factory=dict)
    left: Mapping[str, float] = field(default_factory=dict)
    lip_press: float = 0.0
    chin_raise: float = 0.0
    lids: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def expression(self) -> Float64:
        """``[478, 3]``, normalised."""
        total = np.zeros_like(canonical_face())
        left = 1.0 / (1.0 + np.exp(-canonical_face()[:, :1] / _SIDE_WIDTH))
        for share, amounts in ((1.0, self.whole), (1.0 - left, self.right), (left, self.left)):
            for name, amount in amounts.items():
                total += share * amount * fields()[name]
        return total + self.lip_press * _lip_press() + self.chin_raise * _chin_raise()


@dataclass(frozen=True)
class Recipe:
    """A built-in template: keyframes by their second, the first one neutral."""

    name: str
    title: str
    description: str
    keyframes: Sequence[tuple[float, Face]]
    cover: Mapping[str, float]
    onset: float

    def template(self) -> Template:
        """The template that is shipped."""
        faces = [shown for _, shown in self.keyframes]
        return Template(
            name=self.name,
            title=self.title,
            description=self.description,
            source=_SOURCE,
            time=np.array([time for time, _ in self.keyframes], np.float32),
            expression=np.stack([shown.expression() for shown in faces]).astype(np.float32),
            lids=np.array([shown.lids for shown in faces], np.float32),
            gaze=np.array([shown.gaze for shown in faces], np.float32),
            head=np.array([shown.head for shown in faces], np.float32),
            cover=self.cover,
            onset=self.onset,
        )


def _bump(points: Sequence[int], across: float, down: float) -> Float64:
    """1 at some landmarks, falling off as a Gaussian of these widths, ``[478, 1]``."""
    canonical = canonical_face()[:, :2]
    offset = (canonical[:, None] - canonical[None, list(points)]) / np.array([across, down])
    return np.asarray(np.exp(-0.5 * (offset**2).sum(-1)).max(1))[:, None]


def _lip_press() -> Float64:
    """Lips made thin (AU 24): outer edges drawn towards the seam."""
    canonical = canonical_face()
    seam = 0.5 * (canonical[13, 1] + canonical[14, 1])
    on_lips = np.zeros((len(canonical), 1))
    on_lips[face.LIPS] = 1.0
    lips = np.maximum(on_lips, 0.35 * _bump(face.LIPS.tolist(), 0.10, 0.10))
    pressed = np.zeros_like(canonical)
    pressed[:, 1:2] = -0.45 * np.clip(canonical[:, 1:2] - seam, -0.25, 0.25) * lips
    return pressed


def _chin_raise() -> Float64:
    """Chin boss and lower lip pushed up (AU 17), the middle of both lips most."""
    raised = np.zeros_like(canonical_face())
    raised[:, 1:2] = -0.07 * _bump([17, 18, 200], 0.30, 0.22)
    raised[:, 1:2] -= 0.05 * _bump([13, 14], 0.22, 0.12)
    raised[:, 2:3] = -0.04 * _bump([17, 18], 0.30, 0.15)
    return raised


_NEUTRAL: Final = Face()
_HAPPY: Final = Face(
    whole={"smile": 1.25, "corners_down": -0.05, "wide": 0.08},
    lids=(0.16, 0.16, 0.0, 0.0),
)
_SAD: Final = Face(
    whole={"inner_brows_down": -0.11, "outer_brows_down": 0.04, "brows_apart": -0.03, "corners_down": 0.11},
    chin_raise=0.45,
    lids=(0.18, 0.18, 0.0, 0.0),
    gaze=(0.0, 0.03),
    head=(0.0, 2.5, 0.0),
)
_DEPRESSED: Final = Face(
    whole={"inner_brows_down": -0.05, "outer_brows_down": 0.05, "corners_down": 0.09, "wide": -0.04},
    lids=(0.35, 0.35, 0.0, 0.0),
    gaze=(0.0, 0.11),
    head=(0.0, 8.0, 1.5),
)
_SURPRISED: Final = Face(
    whole={"inner_brows_down": -0.125, "outer_brows_down": -0.115, "jaw_open": 0.34, "wide": -0.055},
    lids=(0.0, 0.0, 0.31, 0.31),
)
_ANGRY: Final = Face(
    whole={
        "inner_brows_down": 0.172,
        "outer_brows_down": 0.036,
        "brows_apart": -0.09,
        "corners_down": 0.09,
        "wide": -0.045,
    },
    lip_press=0.55,
    chin_raise=0.45,
    lids=(0.05, 0.05, 0.0, 0.0),
    head=(0.0, 3.0, 0.0),
)


def _wink(side: str) -> Face:
    # the cheek is pulled up, the lips are not parted
    cheek = {"smile": 0.5, "jaw_open": -0.05, "inner_brows_down": 0.03, "outer_brows_down": 0.05}
    closed = (1.0, 0.0, 0.0, 0.0) if side == "right" else (0.0, 1.0, 0.0, 0.0)
    return Face(right=cheek, lids=closed) if side == "right" else Face(left=cheek, lids=closed)


def _eye_cover(side: str) -> dict[str, float]:
    return {f"{side}_eye": 1.0, f"{side}_brow": 0.5}


RECIPES: Final[tuple[Recipe, ...]] = (
    Recipe("happy", "Happy", "A broad smile; the eyes narrow a little.",
           [(0.0, _NEUTRAL), (0.9, _HAPPY)], _ALL, 0.7),
    Recipe("sad", "Sad", "Inner ends of the brows up, corners of the mouth down, chin raised.",
           [(0.0, _NEUTRAL), (1.3, _SAD)], _ALL, 0.9),
    Recipe("wink-left", "Wink (left)", "The person's own left eye closes for a moment; the cheek rises.",
           [(0.0, _NEUTRAL), (0.22, _wink("left"))], _eye_cover("left"), 0.2),
    Recipe("wink-right", "Wink (right)", "The person's own right eye closes for a moment; the cheek rises.",
           [(0.0, _NEUTRAL), (0.22, _wink("right"))], _eye_cover("right"), 0.2),
    Recipe("depressed", "Depressed", "Head and eyes lowered, lids heavy, mouth slack at its corners.",
           [(0.0, _NEUTRAL), (1.8, _DEPRESSED)], _ALL, 1.2),
    Recipe("blank", "Blank", "No expression at all: brows, eyes and mouth at rest.",
           [(0.0, _NEUTRAL), (0.8, Face(lids=(0.06, 0.06, 0.0, 0.0)))], _ALL, 0.8),
    Recipe("surprised", "Surprised", "Brows up, eyes wide, mouth open.",
           [(0.0, _NEUTRAL), (0.12, Face(whole={"inner_brows_down": -0.06, "outer_brows_down": -0.06},
                                         lids=(0.0, 0.0, 0.15, 0.15))), (0.45, _SURPRISED)], _ALL, 0.3),
    Recipe("angry", "Angry", "Brows down and drawn together, lips pressed.",
           [(0.0, _NEUTRAL), (0.7, _ANGRY)], _ALL, 0.5),
    Recipe("wink-smile", "Wink with a big smile", "A big smile, then the person's own left eye winks.",
           [(0.0, _NEUTRAL), (0.8, _HAPPY),
            (1.1, Face(whole={"smile": 1.35, "corners_down": -0.05, "wide": 0.1},
                       left={"outer_brows_down": 0.05}, lids=(0.1, 1.0, 0.0, 0.0), head=(0.0, 0.0, 4.0)))],
           _ALL, 0.7),
)  # fmt: skip


def main(folder: Path = BUILTIN_FOLDER) -> None:
    """Write all built-in templates."""
    folder.mkdir(parents=True, exist_ok=True)
    for recipe in RECIPES:
        path = folder / f"{recipe.name}{SUFFIX}"
        save_template(recipe.template(), path)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
