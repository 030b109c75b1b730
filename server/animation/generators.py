"""Generators by the name that the ``generator`` setting gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from models.generator import Generator
from server.inference.pipeline import load_generator

_BY_NAME: Final = {"mesh-warp": "server.inference.pipeline:mesh_warp"}


def generator_of(name: str) -> Callable[[int], Generator]:
    """What makes a generator of a size, 256 or 512.

    Raises:
        KeyError: there is none by that name.
    """
    return load_generator(_BY_NAME[name])
