"""Clips of talking people to training shards: one-face tracks, cropped, with their landmarks.

A shard is one clip: a safetensors file with the frames as JPEG, the landmarks of each, and where they
came from. Rasters and mesh maps are drawn when a sample is taken: that is faster than reading them.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from models.film import open_film, upright
from models.landmarks.crop import CROP_FACES, face_size, warp_to_square
from models.landmarks.detector import FaceDetector

Split = Literal["train", "dev", "generated"]
VIDEO_SUFFIXES = {".mp4", ".webm", ".mkv", ".mov", ".avi"}

#: Share of people held out of a tree that brings no split of its own.
_DEV_SHARE = 0.1
_JPEG_QUALITY = 93
_FORMAT = "understudy-clip-1"


@dataclass(frozen=True)
class Clip:
    """One video of one person.

    Attributes:
        path: of the video.
        name: unique in the dataset; names the shard.
        person: who is in it; splits are by person.
        split: ``generated`` clips show drawn or synthetic people: for variety, never for measuring.
    """

    path: Path
    name: str
    person: str
    split: Split


@dataclass(frozen=True)
class ClipOptions:
    """How clips are cut.

    Attributes:
        size: pixels a side of the stored crops.
        fps: frames a second that are kept, at most.
        min_face: faces smaller than this (pixels) are left out.
        max_drift: how far a face may move within one crop, in face sizes; beyond, the clip is left out.
        min_frames: shorter tracks are left out.
    """

    size: int = 256
    fps: float = 6.5
    min_face: float = 64.0
    max_drift: float = 0.35
    min_frames: int = 4


@dataclass(frozen=True)
class ClipReport:
    """What became of a clip: frames kept, or why it was left out."""

    name: str
    person: str
    split: Split
    frames: int
    left_out: str | None = None


def find_clips(source: Path) -> list[Clip]:
    """Clips of a folder: listed in its ``clips.csv``, or a VoxCeleb-style tree person/video/clip.

    Raises:
        ValueError: neither is there, or the list lacks a column or names a clip twice.
    """
    listing = source / "clips.csv"
    if listing.exists():
        return _listed(listing)
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    clips = []
    for path in paths:
        person = path.relative_to(source).parts[0]
        held_out = int(hashlib.sha256(person.encode()).hexdigest(), 16) % 1000 < 1000 * _DEV_SHARE
        clips.append(Clip(path, _name(path.relative_to(source)), person, "dev" if held_out else "train"))
    if not clips:
        raise ValueError(f"{source} has neither a clips.csv nor videos below it")
    return clips


def _listed(listing: Path) -> list[Clip]:
    with listing.open(newline="") as file:
        rows = csv.DictReader(file)
        missing = {"clip", "person", "split"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{listing} has no column {', '.join(sorted(missing))}")
        clips = [
            Clip(listing.parent / row["clip"], _name(Path(row["clip"])), row["person"], _split(row["split"]))
            for row in rows
        ]
    # two clips of one name would be one shard, of whoever came first
    twice = [name for name, count in Counter(clip.name for clip in clips).items() if count > 1]
    if twice:
        raise ValueError(f"{listing} names {', '.join(twice[:3])} more than once")
    return clips


def _name(path: Path) -> str:
    """Of a clip's shard: all of its way, since a file's name alone need not be the only one."""
    return "__".join(part for part in path.with_suffix("").parts if part not in ("..", path.anchor))


def _split(text: str) -> Split:
    if text not in ("train", "dev", "generated"):
        raise ValueError(f"unknown split {text!r}")
    return text  # type: ignore[return-value]


def read_frames(path: Path, fps: float) -> Iterator[npt.NDArray[np.uint8]]:
    """Decoded frames of a video, RGB ``[H, W, 3]``, at most ``fps`` a second.

    Raises:
        av.FFmpegError: the file is not a video, or breaks off.
    """
    with open_film(path) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        due = 0.0
        for index, frame in enumerate(container.decode(stream)):
            time = frame.time if frame.time is not None else index / float(stream.average_rate or 25)
            if time + 1e-3 >= due:
                due = max(due + 1.0 / fps, time)
                yield upright(frame)


def process_clip(clip: Clip, folder: Path, options: ClipOptions) -> ClipReport:
    """Make one shard; a shard that is already there is kept (so an interrupted build goes on)."""

    def left_out(why: str) -> ClipReport:
        return ClipReport(clip.name, clip.person, clip.split, 0, why)

    shard = folder / f"{clip.name}.safetensors"
    if shard.exists():
        with safe_open(str(shard), framework="np") as file:
            return ClipReport(clip.name, clip.person, clip.split, file.get_slice("landmarks").get_shape()[0])
    frames, faces = [], []
    try:
        with FaceDetector(static=False, max_faces=2) as detector:
            for frame in read_frames(clip.path, options.fps):
                found = detector.detect(frame)
                if not found:
                    continue
                largest = max(found, key=face_size)
                if any(_is_another(other, largest) for other in found):
                    return left_out("two faces")
                frames.append(frame)
                faces.append(largest)
    except (av.FFmpegError, IndexError, OSError) as error:
        return left_out(f"undecodable: {error}")
    if len(faces) < options.min_frames:
        return left_out(f"a face in {len(faces)} frames only")

    landmarks = np.stack(faces)
    extents = np.array([face_size(face) for face in landmarks])
    extent = float(np.median(extents))
    centres = (landmarks[:, :, :2].min(1) + landmarks[:, :, :2].max(1)) / 2
    centre = np.median(centres, axis=0)
    if extent < options.min_face:
        return left_out(f"face of {extent:.0f} px")
    if np.linalg.norm(centres - centre, axis=1).max() > options.max_drift * extent:
        return left_out("the face moves out of its crop")
    # one crop for the whole clip, so that the head's motion stays in it, as it does in a call
    corner = _inside(centre, CROP_FACES * extent, frames[0].shape[1::-1])
    scale = options.size / (CROP_FACES * extent)
    transform = np.array([[scale, 0.0, -scale * corner[0]], [0.0, scale, -scale * corner[1]]])
    landmarks = landmarks * scale
    landmarks[:, :, :2] += transform[:, 2]
    jpegs = [_jpeg(warp_to_square(frame, transform, options.size)) for frame in frames]
    _write(shard, jpegs, landmarks.astype(np.float32), clip, options)
    return ClipReport(clip.name, clip.person, clip.split, len(jpegs))


def _is_another(face: npt.NDArray[np.floating], largest: npt.NDArray[np.floating]) -> bool:
    """Whether this is a second person, and neither the same face held twice nor a phantom in the clothes."""
    apart = np.linalg.norm((face - largest)[:, :2].mean(0)) > 0.5 * face_size(largest)
    return bool(apart and face_size(face) > 0.6 * face_size(largest))


def _inside(centre: npt.NDArray[np.floating], side: float, frame: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Upper left corner of a square around ``centre``, moved into the frame as far as it fits there.

    Where a clip is cut close below the chin or above the hair, a crop with the face in its very middle
    would repeat the border: streaks that a network would learn to make.
    """
    slack = np.array(frame, np.float64) - side
    corner = np.asarray(centre, np.float64) - side / 2
    return np.where(slack > 0, np.clip(corner, 0.0, np.maximum(slack, 0.0)), slack / 2)


def _jpeg(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    if not done:
        raise ValueError("the frame could not be compressed")
    return np.asarray(data, np.uint8).ravel()


def _write(
    shard: Path,
    jpegs: list[npt.NDArray[np.uint8]],
    landmarks: npt.NDArray[np.float32],
    clip: Clip,
    options: ClipOptions,
) -> None:
    offsets = np.cumsum([0, *(len(jpeg) for jpeg in jpegs)]).astype(np.int64)
    header = {"format": _FORMAT, "person": clip.person, "split": clip.split, "options": asdict(options)}
    partial = shard.with_suffix(".part")
    save_file(
        {"jpeg": np.concatenate(jpegs), "offsets": offsets, "landmarks": landmarks},
        str(partial),
        metadata={"understudy": json.dumps(header)},
    )
    partial.rename(shard)  # whole or not there


class ClipShard:
    """Reads one shard; frames stay compressed in memory until they are asked for.

    Attributes:
        person, split: of the clip.
        landmarks: ``[T, 478, 3]`` float32, pixels of the crop.

    Raises:
        ValueError: not a shard of this format.
    """

    def __init__(self, path: Path) -> None:
        with safe_open(str(path), framework="np") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {}).get("understudy", "{}"))
            if header.get("format") != _FORMAT:
                raise ValueError(f"{path} is not a clip shard of format {_FORMAT}")
            self._jpeg = file.get_tensor("jpeg")
            self._offsets = file.get_tensor("offsets")
            self.landmarks: npt.NDArray[np.float32] = file.get_tensor("landmarks")
        self.person: str = header["person"]
        self.split: Split = header["split"]
        self.size: int = header["options"]["size"]

    def __len__(self) -> int:
        return len(self.landmarks)

    def frame(self, index: int) -> npt.NDArray[np.uint8]:
        """Decoded frame ``[size, size, 3]`` RGB."""
        data = self._jpeg[self._offsets[index] : self._offsets[index + 1]]
        return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
