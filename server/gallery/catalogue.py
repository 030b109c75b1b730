"""Who is in the gallery: name, credit, licence, and how the picture is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server.gallery import sitters, styles
from server.gallery.drawing import Array
from server.gallery.lighting import light
from server.gallery.portrait import Portrait
from server.gallery.sitters.common import SIZE


@dataclass(frozen=True)
class Entry:
    """A built-in target.

    Attributes:
        id: fixed, readable.
        name: for people.
        credit, licence: shown beside it.
        make: makes the picture from its size in pixels (a photo has its own); see :meth:`picture`.
    """

    id: str
    name: str
    credit: str
    licence: str
    make: Callable[[int], NDArray[np.uint8]]

    def picture(self, size: int = SIZE) -> NDArray[np.uint8]:
        """The picture, ``[H, W, 3]`` uint8 RGB: the same at every call."""
        return self.make(size)


def _astronaut(_: int) -> NDArray[np.uint8]:
    from skimage import data

    return np.asarray(data.astronaut(), dtype=np.uint8)


def draw(
    sitter: Callable[[int], Portrait], style: Callable[[Portrait], Array], size: int = SIZE
) -> NDArray[np.uint8]:
    """A sitter, lit and in a style, ``[size, size, 3]`` uint8 RGB."""
    portrait = sitter(size)
    light(portrait)
    return np.asarray(np.rint(style(portrait) * 255), dtype=np.uint8)


def _drawn(sitter: Callable[[int], Portrait], manner: str, style: Callable[[Portrait], Array]) -> Entry:
    return Entry(
        sitter.__name__,
        f"{sitter.__name__.capitalize()}, {manner}",
        "Drawn by Understudy's own code; nobody who ever was",
        "CC0-1.0",
        functools.partial(draw, sitter, style),
    )


CATALOGUE: Final[tuple[Entry, ...]] = (
    _drawn(sitters.ines, "in the studio", styles.studio),
    _drawn(sitters.adaeze, "pop art", styles.pop_art),
    _drawn(sitters.maeve, "in watercolour", styles.watercolour),
    _drawn(sitters.kenji, "a comic", styles.comic),
    _drawn(sitters.marguerite, "in oil", styles.oil),
    _drawn(sitters.leila, "a poster", styles.flat),
    _drawn(sitters.anselm, "in charcoal", styles.charcoal),
    _drawn(sitters.mateo, "in pixels", styles.pixel_art),
    _drawn(sitters.viktor, "in coloured pencil", styles.coloured_pencil),
    _drawn(sitters.tomas, "in clay", styles.clay),
    Entry(
        "astronaut",
        "Eileen, the astronaut",
        "Eileen Collins, photo by NASA, from scikit-image",
        "Public domain",
        _astronaut,
    ),
)
