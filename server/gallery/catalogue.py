"""Who is in the gallery: name, credit, licence, and how the picture is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server.gallery import styles
from server.gallery.person import Person
from server.gallery.portrait import paint_portrait
from server.gallery.styles import Picture


@dataclass(frozen=True)
class Entry:
    """A built-in target.

    Attributes:
        id: fixed, readable.
        name: for people.
        credit, licence: shown beside it.
        picture: makes the picture, ``[H, W, 3]`` uint8 RGB; the same at every call.
    """

    id: str
    name: str
    credit: str
    licence: str
    picture: Callable[[], NDArray[np.uint8]]


def _astronaut() -> NDArray[np.uint8]:
    from skimage import data

    return np.asarray(data.astronaut(), dtype=np.uint8)


def _drawn(identifier: str, name: str, style: Callable[[Picture], Picture], person: Person) -> Entry:
    return Entry(
        identifier,
        name,
        "Drawn by Understudy's own code; nobody who ever was",
        "CC0-1.0",
        lambda: style(paint_portrait(person)),
    )


CATALOGUE: Final[tuple[Entry, ...]] = (
    _drawn(
        "zola",
        "Zola, painted",
        styles.painted,
        Person(
            skin=(126, 80, 54), hair_colour=(40, 26, 22), eye_colour=(60, 36, 22), lip_colour=(160, 70, 74),
            clothes=(220, 190, 70), background=((230, 170, 150), (190, 110, 110)), hair="curly",
            eyes=1.08, nose=1.1, lips=1.2, earrings=True, seed=6,
        ),
    ),
    _drawn(
        "clara",
        "Clara, in oil",
        styles.oil,
        Person(
            skin=(236, 196, 170), hair_colour=(92, 52, 30), eye_colour=(96, 130, 90),
            lip_colour=(196, 104, 100), clothes=(62, 92, 128), background=((214, 206, 190), (170, 156, 140)),
            hair="long", eyes=1.08, lips=1.05, jaw=0.94, earrings=True, seed=1,
        ),
    ),
    _drawn(
        "mei",
        "Mei, a comic",
        styles.comic,
        Person(
            skin=(222, 176, 138), hair_colour=(40, 32, 32), eye_colour=(60, 40, 28), lip_colour=(176, 88, 84),
            clothes=(40, 110, 90), background=((236, 214, 160), (214, 170, 110)), hair="bun",
            eyes=1.02, nose=1.03, glasses=True, seed=4,
        ),
    ),
    _drawn(
        "amari",
        "Amari, painted",
        styles.painted,
        Person(
            skin=(150, 98, 68), hair_colour=(30, 24, 22), eye_colour=(70, 42, 24), lip_colour=(140, 72, 66),
            clothes=(196, 120, 60), background=((96, 140, 150), (50, 84, 100)), hair="short",
            width=1.02, nose=1.12, lips=1.15, jaw=1.04, beard=0.75, seed=2,
        ),
    ),
    _drawn(
        "freya",
        "Freya, ink and wash",
        styles.watercolour,
        Person(
            skin=(244, 214, 196), hair_colour=(206, 160, 92), eye_colour=(96, 140, 180),
            lip_colour=(206, 110, 116), clothes=(160, 60, 80), background=((190, 208, 222), (140, 164, 190)),
            hair="bob", eyes=1.1, seed=3,
        ),
    ),
    _drawn(
        "rafael",
        "Rafael, in clay",
        styles.clay,
        Person(
            skin=(208, 160, 126), hair_colour=(70, 46, 34), eye_colour=(80, 60, 40), lip_colour=(170, 90, 84),
            clothes=(60, 60, 70), background=((150, 160, 170), (100, 110, 124)), hair="side",
            jaw=1.06, width=1.03, brows=1.15, seed=7,
        ),
    ),
    _drawn(
        "viktor",
        "Viktor, in pencil",
        styles.pencil,
        Person(
            skin=(222, 178, 150), hair_colour=(150, 150, 152), eye_colour=(100, 120, 130),
            lip_colour=(176, 104, 98), clothes=(70, 72, 84), background=((196, 196, 200), (150, 150, 158)),
            hair="side", jaw=1.05, brows=1.2, beard=0.5, seed=5,
        ),
    ),
    _drawn(
        "noor",
        "Noor, a poster",
        styles.duotone,
        Person(
            skin=(214, 164, 128), hair_colour=(52, 34, 30), eye_colour=(70, 50, 34), lip_colour=(190, 88, 92),
            clothes=(90, 60, 120), background=((220, 200, 190), (180, 150, 150)), hair="long",
            eyes=1.12, lips=1.08, seed=8,
        ),
    ),
    Entry(
        "astronaut",
        "Eileen, the astronaut",
        "Eileen Collins, photo by NASA, from scikit-image",
        "Public domain",
        _astronaut,
    ),
)  # fmt: skip
