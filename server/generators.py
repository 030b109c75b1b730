"""Generators by the name that the ``generator`` setting gives them, and how each is made."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from models.generator import Generator

__all__ = ["GENERATORS", "GeneratorName", "dotted", "from_weights", "load_generator", "mesh_warp"]

GeneratorName = Literal["mesh-warp"]
GENERATORS: Final[tuple[GeneratorName, ...]] = get_args(GeneratorName)


def dotted(name: GeneratorName) -> str:
    """Name of the function that makes a generator, for :func:`load_generator` in another process."""
    return f"{__name__}:{name.replace('-', '_')}"


def load_generator(name: str) -> Callable[[int], Generator]:
    """The function behind a generator's name, or behind a dotted name ``module:function``.

    It takes the size of the pictures, 256 or 512, and may raise what the generator's loading raises.

    Raises:
        ValueError: there is none.
    """
    if name in GENERATORS:
        name = dotted(name)
    module, _, function = name.partition(":")
    try:
        generator: Callable[[int], Generator] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name!r} is no generator: {error}") from None
    return generator


def mesh_warp(size: int) -> Generator:
    """The geometric generator: no weights, no torch."""
    from models.mesh_warp import MeshWarpGenerator

    return MeshWarpGenerator(size)


def from_weights(path: Path) -> Callable[[int], Generator]:
    """The network with weights of one's own, by the quickest runtime that gives the right pictures here.

    Raises:
        models.marionette.weights.WeightsError: they cannot be used; the message says why.
    """
    from models.marionette.generator import MarionetteGenerator
    from models.marionette.selection import quickest_runtime
    from models.marionette.weights import load_network

    runtime = quickest_runtime(load_network(path))
    return lambda size: MarionetteGenerator(runtime, size)
