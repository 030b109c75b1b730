"""Who is in the gallery: name, credit, licence, and how the picture is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


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


CATALOGUE: Final[tuple[Entry, ...]] = (
    Entry(
        "astronaut",
        "Eileen, the astronaut",
        "Eileen Collins, photo by NASA, from scikit-image",
        "Public domain",
        _astronaut,
    ),
)
