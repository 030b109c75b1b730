"""Separated landmarks as training data: frames of many people, split by person, with identities to mix."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.landmarks.store import LandmarkStore
from models.landmarks.topology import MIRROR

Float64 = npt.NDArray[np.float64]

__all__ = ["Person", "load_people_of", "mirrored", "read_listing"]


@dataclass(frozen=True)
class Person:
    """All frames of one person, from one or several videos.

    Attributes:
        name: of the person.
        split: ``train``, ``dev`` or ``generated``.
        landmarks: normalised, float32 ``[T, N, 3]``.
        crops: aligned faces, uint8 ``[T, S, S, 3]``; None where none are stored.
        seconds: of footage; 0 for photos.
        videos: how many.
        still: the frames are photos.
    """

    name: str
    split: str
    landmarks: npt.NDArray[np.float32]
    crops: npt.NDArray[np.uint8] | None
    seconds: float
    videos: int
    still: bool

    @property
    def mean(self) -> Float64:
        """Mean landmarks ``[N, 3]``: average + many-shot identity (Eq. 10)."""
        return self.landmarks.mean(axis=0, dtype=np.float64)


def read_listing(path: Path) -> dict[str, tuple[str, str]]:
    """Who is in which file, and in which split.

    The CSV file has the columns ``person``, ``split`` and, for the file's name, ``clip`` or ``photo``.

    Returns:
        (person, split) for each file name, without its folder.

    Raises:
        ValueError: a column is missing.
    """
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        column = next((name for name in ("clip", "photo", "video") if name in columns), None)
        if column is None or "person" not in columns or "split" not in columns:
            raise ValueError(f"{path} needs the columns person, split and clip (or photo, or video)")
        return {Path(row[column]).name: (row["person"], row["split"]) for row in rows}


def load_people_of(stores: Sequence[Path], listings: Sequence[Path], *, crops: bool = True) -> list[Person]:
    """People of some stores, by name.

    Args:
        stores: files that ``understudy landmarks separate`` wrote.
        listings: see :func:`read_listing`; videos that none of them names are left out.
        crops: read the aligned faces too.

    Raises:
        ValueError: two splits claim one person, or no video is named in the listings.
        models.landmarks.store.StoreError: a store cannot be read.
    """
    who: dict[str, tuple[str, str]] = {}
    for listing in listings:
        who.update(read_listing(listing))
    tracks: dict[str, list[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8] | None, float]]] = {}
    splits: dict[str, str] = {}
    for path in stores:
        store = LandmarkStore.open(path)
        for video, source in enumerate(store.sources):
            if source.name not in who:
                continue
            person, split = who[source.name]
            if splits.setdefault(person, split) != split:
                raise ValueError(f"{person} is in the split {split} and in {splits[person]}")
            faces = store.crops(video) if crops and store.crop_size else None
            indices = store.frame[store.video == video]
            # frames may have been skipped on purpose: count what the kept ones stand for
            stride = float(np.median(np.diff(indices))) if len(indices) > 1 else 0.0
            seconds = len(indices) * stride / source.fps if source.fps else 0.0
            tracks.setdefault(person, []).append((store.landmarks(video), faces, seconds))
    if not tracks:
        raise ValueError("the listings name none of the stores' videos")
    people = []
    for name, parts in sorted(tracks.items()):
        pictures = [part[1] for part in parts if part[1] is not None]
        people.append(
            Person(
                name=name,
                split=splits[name],
                landmarks=np.concatenate([part[0] for part in parts]),
                crops=np.concatenate(pictures) if len(pictures) == len(parts) else None,
                seconds=sum(part[2] for part in parts),
                videos=len(parts),
                still=all(part[2] == 0.0 for part in parts),
            )
        )
    return people


def mirrored(landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Landmarks ``[..., 478, 3]``, or differences of such, of the mirrored face."""
    return landmarks[..., MIRROR, :] * np.array([-1.0, 1.0, 1.0], landmarks.dtype)
