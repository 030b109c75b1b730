"""Generators by the name that the ``generator`` setting gives them, and how each is made.

``auto`` is the network, where its weights are shipped and this machine computes it quickly enough, and else
the mesh warp. That is tried out once and remembered beside the data, so that processes that take over from
others need not try again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from models.concurrency import usable_cores

if TYPE_CHECKING:
    from models.generator import Generator
    from models.marionette.selection import Choice

__all__ = [
    "GENERATORS",
    "SHIPPED",
    "GeneratorName",
    "auto",
    "dotted",
    "expected",
    "from_weights",
    "load_generator",
    "marionette",
    "mesh_warp",
]

logger = logging.getLogger(__name__)

GeneratorName = Literal["auto", "mesh-warp", "marionette"]
GENERATORS: Final[tuple[GeneratorName, ...]] = get_args(GeneratorName)

#: The network's weights, once they are trained far enough to be shipped.
SHIPPED: Final = Path(__file__).parents[1] / "models" / "weights" / "generator-lite.safetensors"

#: With more for the network's part of a frame, two people whose browsers run on the same two cores would not
#: always get 20 frames a second: with 6 to 7 ms they got 22 to 27, with the mesh warp 27 to 30.
_QUICK_ENOUGH_S: Final = 0.008
_REMEMBERED: Final = "generator-choice.json"


def dotted(name: GeneratorName) -> str:
    """Name of the function that makes a generator, for :func:`load_generator` in another process."""
    return f"{__name__}:{name.replace('-', '_')}"


def load_generator(name: str, data_dir: Path | None = None) -> Callable[[int], Generator]:
    """The function behind a generator's name, or behind a dotted name ``module:function``.

    It takes the size of the pictures, 256 or 512, and may raise what the generator's loading raises.

    Args:
        name: of the generator.
        data_dir: where what was found out about this machine is remembered.

    Raises:
        ValueError: there is none.
    """
    if name in GENERATORS:
        name = dotted(name)
    module, _, function = name.partition(":")
    try:
        generator: Callable[..., Generator] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name!r} is no generator: {error}") from None
    return partial(generator, data_dir=data_dir) if generator in (auto, marionette) else generator


def expected(name: str, data_dir: Path, size: int = 256) -> str:
    """What ``auto`` will be, to tell people: remembered, or likely; any other name is itself."""
    if name != "auto":
        return name
    if not SHIPPED.exists():
        return "mesh-warp"
    remembered = _recall(SHIPPED, data_dir)
    return "marionette" if remembered is None or _quick(remembered, size) else "mesh-warp"


def mesh_warp(size: int) -> Generator:
    """The geometric generator: no weights, no torch."""
    from models.mesh_warp import MeshWarpGenerator

    return MeshWarpGenerator(size)


def marionette(size: int, data_dir: Path | None = None) -> Generator:
    """The network with the shipped weights, however long a frame takes.

    Raises:
        models.marionette.weights.WeightsError: they are not there, or cannot be used.
    """
    return _network(SHIPPED, data_dir)(size)


def auto(size: int, data_dir: Path | None = None) -> Generator:
    """The network, where its weights are shipped and it is quick enough here; else the mesh warp."""
    if not SHIPPED.exists():
        return mesh_warp(size)
    try:
        return _network(SHIPPED, data_dir, quick_at=size)(size)
    except _TooSlow as error:
        logger.info("The mesh warp is used: %s", error)
    except Exception:
        logger.exception("The network cannot be used, the mesh warp is")
    return mesh_warp(size)


def from_weights(path: Path, data_dir: Path | None = None) -> Callable[[int], Generator]:
    """The network with weights of one's own, by the quickest runtime that gives the right pictures here.

    Raises:
        models.marionette.weights.WeightsError: they cannot be used; the message says why.
    """
    return _network(path, data_dir)


class _TooSlow(Exception):
    """This machine does not compute the network in time for calls."""


def _network(path: Path, data_dir: Path | None, *, quick_at: int | None = None) -> Callable[[int], Generator]:
    """A network's generators by size; with ``quick_at`` only where pictures of that size are quick enough."""
    from models.landmarks.registration import RegistrationError
    from models.marionette.generator import registration_of
    from models.marionette.selection import make_generator, make_runtime, select_runtime
    from models.marionette.weights import WeightsError, read_weights

    weights = read_weights(path)
    remembered = _recall(path, data_dir)
    try:
        registration_of(weights.config)  # that it is missing is said now, not at the first frame
        if remembered is None:
            choice = select_runtime(weights)
            runtime, remembered = choice.runtime, _remember(path, data_dir, choice)
        elif quick_at is not None and not _quick(remembered, quick_at):
            raise _TooSlow(_sentence(remembered))
        else:
            runtime = make_runtime(remembered["runtime"], weights)
    except (KeyError, RuntimeError, RegistrationError) as error:
        raise WeightsError(f"{path} cannot be used: {error}") from None
    if quick_at is not None and not _quick(remembered, quick_at):
        raise _TooSlow(_sentence(remembered))
    return lambda size: make_generator(runtime, size)


# ---------------------------------------------------------------- what was found out about this machine


def _quick(remembered: dict[str, Any], size: int) -> bool:
    # tried out at 256; at 512 synthesis has four times the pixels, all of a frame takes about twice as long
    return float(remembered["frame_s"]) * (size / 256) <= _QUICK_ENOUGH_S


def _sentence(remembered: dict[str, Any]) -> str:
    took = 1e3 * remembered["frame_s"]
    return f"{remembered['runtime']} takes {took:.0f} ms for the network's part of a frame"


def _recall(weights: Path, data_dir: Path | None) -> dict[str, Any] | None:
    """What was remembered of these weights on this machine with these libraries."""
    if data_dir is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads((data_dir / _REMEMBERED).read_text())
        if found["of"] == _fingerprint(weights) and isinstance(found["frame_s"], float):
            return {"runtime": str(found["runtime"]), "frame_s": found["frame_s"]}
    return None


def _remember(weights: Path, data_dir: Path | None, choice: Choice) -> dict[str, Any]:
    result: dict[str, Any] = {"runtime": choice.name, "frame_s": choice.frame_s}
    if data_dir is not None:
        partial_file = data_dir / f"{_REMEMBERED}.{os.getpid()}"
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            partial_file.write_text(json.dumps(result | {"of": _fingerprint(weights)}))
            partial_file.replace(data_dir / _REMEMBERED)
        except OSError as error:
            logger.warning("The choice of a runtime cannot be remembered: %s", error)
    return result


def _fingerprint(weights: Path) -> str:
    """Of all that the choice depends on: weights, libraries, processor, GPU's driver."""
    parts = [hashlib.sha256(weights.read_bytes()).hexdigest(), str(usable_cores())]
    for package in ("understudy", "openvino", "torch", "numpy"):
        with suppress(PackageNotFoundError):
            parts.append(f"{package} {version(package)}")
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        parts += sorted({line for line in lines if line.startswith(("model name", "flags"))})
    with suppress(OSError):
        parts.append(Path("/proc/driver/nvidia/version").read_text())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
