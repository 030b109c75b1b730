"""Keeps separated landmarks in one safetensors file (claims 22-23): parts, indices, and where they came from.

Tensors: ``average [N, 3]`` and ``identity [C, N, 3]`` float64; ``landmark`` and ``expression [F, N, 3]``
float32; ``video`` and ``frame [F]`` int32 (which video a row belongs to, which frame of it); where asked for,
``crop [F, S, S, 3]`` uint8, the aligned faces. The metadata holds one JSON document under ``understudy``.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from models.landmarks.separation import Float64, StreamedSeparation, Track

__all__ = ["LandmarkStore", "Source", "StoreError", "write_store"]

FORMAT: Final = "understudy-landmarks"
FORMAT_VERSION: Final = 1
#: What "normalised" means in this file; readers refuse landmarks that were normalised otherwise.
NORMALISATION: Final = "similarity to the canonical face on rigid points, v1"
_KEY: Final = "understudy"
_TYPES: Final = {"F64": np.float64, "F32": np.float32, "I32": np.int32, "U8": np.uint8}


class StoreError(ValueError):
    """A file is no landmark store, is damaged, or is of a version that cannot be read."""


@dataclass(frozen=True)
class Source:
    """One video of a store.

    Attributes:
        name: of the video file.
        frames: with a face, that are in the store.
        fps: frames a second of the video; 0 where it does not say.
    """

    name: str
    frames: int
    fps: float = 0.0


@dataclass(frozen=True)
class LandmarkStore:
    """A store that was opened; its per-frame tensors are read when asked for.

    Attributes:
        path: of the file.
        average: ``[N, 3]`` float64.
        identity: ``[C, N, 3]`` float64.
        video, frame: int32 ``[F]``, video index and frame index of each row.
        sources: the C videos.
        header: the whole JSON document.
        crop_size: pixels a side of the aligned faces; 0 where there are none.
    """

    path: Path
    average: Float64
    identity: Float64
    video: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int32]
    sources: list[Source]
    header: dict[str, Any] = field(repr=False)
    crop_size: int = 0

    @classmethod
    def open(cls, path: Path | str) -> LandmarkStore:
        """Open a store.

        Raises:
            StoreError: not a landmark store, truncated, or made by an incompatible version.
            OSError: the file cannot be read at all.
        """
        path = Path(path)
        with path.open("rb"):  # a missing or forbidden file is an OSError, whatever safetensors makes of it
            pass
        try:
            with safe_open(path, "numpy") as file:
                header = _header(path, file.metadata())
                shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
                _check_shapes(path, shapes)
                average, identity = file.get_tensor("average"), file.get_tensor("identity")
                video, frame = file.get_tensor("video"), file.get_tensor("frame")
        except SafetensorError as error:
            raise StoreError(f"{path}: truncated, or not a safetensors file ({error})") from None
        try:
            sources = [Source(**source) for source in header["sources"]]
        except (KeyError, TypeError) as error:
            raise StoreError(f"{path}: its header does not name its videos ({error})") from None
        expected = np.repeat(np.arange(len(sources)), [source.frames for source in sources])
        if len(sources) != len(identity) or not np.array_equal(video, expected):
            raise StoreError(f"{path}: its frames are not those of the videos it names")
        crops = shapes.get("crop", [0, 0])[1]
        return cls(path, average, identity, video, frame, sources, header, crops)

    def landmarks(self, video: int) -> npt.NDArray[np.float32]:
        """Normalised landmarks ``[T_c, N, 3]`` of one video."""
        return self._rows("landmark", video)

    def expression(self, video: int) -> npt.NDArray[np.float32]:
        """Expressions ``[T_c, N, 3]`` of one video."""
        return self._rows("expression", video)

    def crops(self, video: int) -> npt.NDArray[np.uint8]:
        """Aligned faces ``[T_c, S, S, 3]`` of one video.

        Raises:
            StoreError: they were not stored.
        """
        if not self.crop_size:
            raise StoreError(f"{self.path}: holds no face crops; separate the videos again with --crops")
        return self._rows("crop", video)

    def _rows(self, name: str, video: int) -> npt.NDArray[Any]:
        start = sum(source.frames for source in self.sources[:video])
        with safe_open(self.path, "numpy") as file:
            return file.get_slice(name)[start : start + self.sources[video].frames]


def write_store(
    path: Path | str,
    separation: StreamedSeparation,
    tracks: Sequence[Iterable[Track]],
    frames: Sequence[npt.ArrayLike],
    sources: Sequence[Source],
    *,
    crops: Sequence[Iterable[npt.NDArray[Any]]] | None = None,
    crop_size: int = 0,
    notes: dict[str, Any] | None = None,
) -> None:
    """Write a store, chunk by chunk, then move it into place.

    Args:
        path: of the file; what is there is replaced at the end.
        separation: of the videos.
        tracks: each video's normalised landmarks, in chunks ``[t, N, 3]``.
        frames: for each video the index of each of its frames, ``[T_c]``.
        sources: the videos' names and lengths.
        crops: each video's aligned faces, in chunks ``[t, S, S, 3]``.
        crop_size: S.
        notes: anything else for the header.

    Raises:
        ValueError: the parts are not of the same videos and frames.
    """
    path = Path(path)
    total, points = int(separation.frames.sum()), len(separation.average)
    if [source.frames for source in sources] != separation.frames.tolist():
        raise ValueError("the sources' frames are not those that were separated")
    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "normalisation": NORMALISATION,
        "software": f"understudy {_version()}",
        "landmarks": points,
        "sources": [asdict(source) for source in sources],
        **(notes or {}),
    }
    layout: dict[str, tuple[str, list[int]]] = {
        "average": ("F64", [points, 3]),
        "identity": ("F64", [len(sources), points, 3]),
        "landmark": ("F32", [total, points, 3]),
        "expression": ("F32", [total, points, 3]),
        "video": ("I32", [total]),
        "frame": ("I32", [total]),
    }
    if crops is not None:
        layout["crop"] = ("U8", [total, crop_size, crop_size, 3])
    content: dict[str, Iterable[npt.NDArray[Any]]] = {
        "average": [separation.average],
        "identity": [separation.identity],
        "landmark": (chunk for track in tracks for chunk in track),
        "expression": (chunk for video in range(len(sources)) for chunk in separation.expression(video)),
        "video": [np.repeat(np.arange(len(sources)), separation.frames)],
        "frame": (np.asarray(index) for index in frames),
        "crop": (chunk for video in crops or () for chunk in video),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            file.write(_safetensors_header(layout, {_KEY: json.dumps(header)}))
            for name, (kind, shape) in layout.items():
                _write_tensor(file, name, content[name], _TYPES[kind], shape)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _safetensors_header(layout: dict[str, tuple[str, list[int]]], metadata: dict[str, str]) -> bytes:
    """The head of a safetensors file whose tensors follow in the order of ``layout``.

    The library's own writer wants every tensor in memory at once; the format is a length, a JSON document
    and the raw tensors (https://github.com/huggingface/safetensors#format).
    """
    entries: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name, (kind, shape) in layout.items():
        size = math.prod(shape) * np.dtype(_TYPES[kind]).itemsize
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _write_tensor(
    file: Any, name: str, chunks: Iterable[npt.NDArray[Any]], dtype: type, shape: list[int]
) -> None:
    written = 0
    for chunk in chunks:
        data: npt.NDArray[Any] = np.ascontiguousarray(chunk, np.dtype(dtype).newbyteorder("<"))
        written += data.size
        file.write(data.data)
    if written != math.prod(shape):
        raise ValueError(f"{name} holds {written} numbers where {shape} were announced")


def _header(path: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    try:
        header = json.loads((metadata or {})[_KEY])
        known = header["format"] == FORMAT
    except (KeyError, TypeError, json.JSONDecodeError):
        known = False
    if not known:
        raise StoreError(f"{path}: a safetensors file, but not a landmark store")
    if header.get("version") != FORMAT_VERSION:
        raise StoreError(
            f"{path}: a landmark store of version {header.get('version')}, "
            f"this software reads {FORMAT_VERSION}"
        )
    if header.get("normalisation") != NORMALISATION:
        raise StoreError(f"{path}: its landmarks were normalised otherwise ({header.get('normalisation')})")
    return dict(header)


def _check_shapes(path: Path, shapes: dict[str, list[int]]) -> None:
    missing = {"average", "identity", "landmark", "expression", "video", "frame"} - set(shapes)
    if missing:
        raise StoreError(f"{path}: {', '.join(sorted(missing))} missing")
    points, rows = shapes["average"][:1], shapes["video"]
    expected = {"landmark": [*rows, *points, 3], "expression": [*rows, *points, 3], "frame": rows}
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise StoreError(f"{path}: {name} has shape {shapes[name]}, expected {shape}")


def _version() -> str:
    try:
        return version("understudy")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
