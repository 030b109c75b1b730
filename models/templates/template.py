"""The expression template: what one holds, and its file format (docs/templates.md).

A template holds *expression* (Eq. 2: landmark minus average minus identity), never anybody's landmarks, in
the pose-free coordinates of the canonical face; so it looks natural on any face (Eq. 7, 8).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from models.landmarks.store import NORMALISATION
from models.landmarks.topology import LANDMARK_COUNT
from models.templates.errors import TemplateError
from models.templates.regions import REGIONS

__all__ = ["LAYOUT", "MAX_BYTES", "NAME_PATTERN", "SUFFIX", "Template", "load_template", "save_template"]

FORMAT: Final = "understudy-template"
FORMAT_VERSION: Final = 1
#: The landmarks' number and order.
LAYOUT: Final = "mediapipe-facemesh-478"
SUFFIX: Final = ".template"
#: Files larger than this are not read: 60 s at 25 frames a second and a little more.
MAX_BYTES: Final = 5 * 1024 * 1024
MAX_SECONDS: Final = 60.0
NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\Z")

Interpolation = Literal["ease", "linear"]
Float32 = npt.NDArray[np.float32]

_KEY: Final = "understudy"
#: Tensors beside ``time [T]``: shape of a keyframe, largest magnitude that makes sense.
_TENSORS: Final[Mapping[str, tuple[tuple[int, ...], float]]] = {
    "expression": ((LANDMARK_COUNT, 3), 1.5),
    "lids": ((4,), 1.0),
    "gaze": ((2,), 1.0),
    "head": ((3,), 45.0),
}


@dataclass(frozen=True)
class Template:
    """A named expression sequence: keyframes in time, between which a face moves gradually ([0216], [0234]).

    Attributes:
        name: for commands; lower-case letters, digits, ``-`` and ``_``.
        title: for people.
        time: float32 ``[T]``, seconds of the keyframes, rising from 0.
        expression: float32 ``[T, 478, 3]``, normalised landmarks minus the neutral face.
        lids: float32 ``[T, 4]``: how far right and left eye are closed (0..1), and how far they are open
            beyond their usual (0.3 for 30 %). "Right" and "left" are the person's own.
        gaze: float32 ``[T, 2]``, turn of the eyes right (in the picture) and down, in eye widths.
        head: float32 ``[T, 3]``, yaw, pitch and roll in degrees on top of the target's own pose.
        cover: share of the face's own expression that the template replaces, 0..1 for each region; where it
            is 0 the face goes on doing what it does.
        onset: seconds in which the template takes over at its start.
        interpolation: ``ease`` starts and ends each way between keyframes at rest; ``linear`` is for
            keyframes that follow each other as closely as frames.
        description, source: for people: what it shows, and what it was made from.
    """

    name: str
    title: str
    time: Float32
    expression: Float32
    lids: Float32
    gaze: Float32
    head: Float32
    cover: Mapping[str, float]
    onset: float = 0.4
    interpolation: Interpolation = "ease"
    description: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        problem = _problem(self)
        if problem:
            raise TemplateError("template_invalid", f"The template {self.name!r} is not valid: {problem}.")

    @property
    def seconds(self) -> float:
        """From first to last keyframe."""
        return float(self.time[-1])


def _problem(template: Template) -> str | None:
    """What contradicts the format, in words."""
    if not NAME_PATTERN.match(template.name):
        return "its name is not of lower-case letters, digits, - and _ (40 at most)"
    time = template.time
    if time.ndim != 1 or len(time) < 2 or not np.isfinite(time).all():
        return "it needs two keyframes or more, each with a time"
    if time[0] != 0 or (np.diff(time) <= 0).any() or time[-1] > MAX_SECONDS:
        return f"its times do not rise from 0 to at most {MAX_SECONDS:g} s"
    for name, (shape, most) in _TENSORS.items():
        values = getattr(template, name)
        if values.shape != (len(time), *shape):
            return f"{name} is {list(values.shape)}, not {[len(time), *shape]}"
        if not np.isfinite(values).all() or np.abs(values).max() > most:
            return f"{name} has values that are not finite or beyond {most:g}"
    if (template.lids < 0).any():
        return "lids has negative values"
    if set(template.cover) - set(REGIONS):
        return f"it covers regions that are none of {', '.join(REGIONS)}"
    if not all(np.isfinite(share) and 0 <= share <= 1 for share in template.cover.values()):
        return "a share of its cover is not within 0 and 1"
    if not 0 < template.onset <= MAX_SECONDS:
        return "its onset is not positive"
    if template.interpolation not in get_args(Interpolation):
        return f"its interpolation is {template.interpolation!r}"
    return None


def save_template(template: Template, path: Path, *, replace: bool = True) -> None:
    """Write a template, whole or not at all.

    Args:
        path: its folder must exist.
        replace: whether a file that is there already is replaced.

    Raises:
        TemplateError: ``template_exists``.
        OSError: it cannot be written; nothing is left behind.
    """
    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "layout": LAYOUT,
        "normalisation": NORMALISATION,
        "name": template.name,
        "title": template.title,
        "description": template.description,
        "source": template.source,
        "cover": {name: round(float(share), 4) for name, share in template.cover.items()},
        "onset": round(float(template.onset), 4),
        "interpolation": template.interpolation,
    }
    tensors = {"time": np.asarray(template.time, np.float32)} | {
        name: np.ascontiguousarray(getattr(template, name), np.float16) for name in _TENSORS
    }
    content = save_tensors(tensors, {_KEY: json.dumps(header)})
    descriptor, staged = tempfile.mkstemp(prefix=".template-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(staged, 0o644)
        if replace:
            os.replace(staged, path)
        else:
            os.link(staged, path)  # unlike a rename, refuses a name that is taken
            os.unlink(staged)
    except FileExistsError:
        os.unlink(staged)
        message = f"There is already a template {path.name}; give another name, or --force."
        raise TemplateError("template_exists", message) from None
    except BaseException:
        with suppress(OSError):
            os.unlink(staged)
        raise


def load_template(path: Path) -> Template:
    """Read a template file; it may come from anybody.

    Raises:
        TemplateError: it is no template, damaged, of a newer version, or for another landmark layout.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            message = f"{path.name} is larger than a template can be ({MAX_BYTES // 1024**2} MB)."
            raise TemplateError("template_unreadable", message)
        content = path.read_bytes()
        tensors, header = load_tensors(content), _header(content)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, TemplateError):
            raise
        raise _unreadable(path) from error
    if header.get("format") != FORMAT:
        raise _unreadable(path)
    if header.get("version") != FORMAT_VERSION:
        raise TemplateError(
            "template_version",
            f"{path.name} is of version {header.get('version')!r} of the format; "
            f"this program reads {FORMAT_VERSION}.",
        )
    if header.get("layout") != LAYOUT or header.get("normalisation") != NORMALISATION:
        raise TemplateError(
            "template_layout",
            f"{path.name} is for the landmark layout {header.get('layout')!r} "
            f"({header.get('normalisation')!r}), which is not known here; {LAYOUT!r} is.",
        )
    try:
        arrays: dict[str, Any] = {name: np.asarray(tensors[name], np.float32) for name in ("time", *_TENSORS)}
        return Template(
            name=str(header["name"]),
            title=str(header["title"])[:80],
            description=str(header.get("description", ""))[:500],
            source=str(header.get("source", ""))[:500],
            cover={str(name): float(share) for name, share in header["cover"].items()},
            onset=float(header["onset"]),
            interpolation=header["interpolation"],
            **arrays,
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if isinstance(error, TemplateError):
            raise
        raise _unreadable(path) from error


def _header(content: bytes) -> dict[str, Any]:
    """The JSON document in a safetensors file's metadata, without another pass over the disk."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header


def _unreadable(path: Path) -> TemplateError:
    return TemplateError("template_unreadable", f"{path.name} is not a template file, or is damaged.")
