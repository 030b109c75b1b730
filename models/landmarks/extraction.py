"""Videos to tracks of normalised landmarks: decode, detect, normalise; says which videos do not qualify."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from models.film import open_film, upright
from models.landmarks.aligned import aligned_face
from models.landmarks.crop import face_size
from models.landmarks.detector import FaceDetector
from models.landmarks.geometry import normalise

__all__ = ["ExtractedTrack", "ExtractionOptions", "LeftOut", "extract_all", "extract_track"]


@dataclass(frozen=True)
class ExtractionOptions:
    """How videos are read.

    Attributes:
        every: frames are kept one in this many; all are decoded and tracked.
        crop_size: pixels a side of the aligned faces kept beside the landmarks; 0 keeps none.
        min_frames: a video with fewer frames that show a face is left out.
        two_faces_every_s: how often a frame is searched for a second face.
        second_face: another face counts from this share of the main one's size.
    """

    every: int = 1
    crop_size: int = 0
    min_frames: int = 1
    two_faces_every_s: float = 0.5
    second_face: float = 0.6


@dataclass(frozen=True)
class ExtractedTrack:
    """Where a video's landmarks were put.

    Attributes:
        video: the file.
        frames: index of each frame with a face, int32 ``[T]``.
        fps: frames a second; 0 where the file does not say.
        landmarks: a ``.npy`` file, float32 ``[T, 478, 3]``, normalised.
        crops: a ``.npy`` file, uint8 ``[T, S, S, 3]``, if they were asked for.
    """

    video: Path
    frames: npt.NDArray[np.int32]
    fps: float
    landmarks: Path
    crops: Path | None


@dataclass(frozen=True)
class LeftOut:
    """A video that was not used, and why, in words."""

    video: Path
    reason: str


class _Unusable(Exception):
    pass


def extract_track(
    video: Path, stem: Path, options: ExtractionOptions | None = None
) -> ExtractedTrack | LeftOut:
    """Read one video of one person; landmarks (and crops) are written to ``stem`` plus a suffix.

    A video that cannot be decoded to its end, shows no face or shows two is reported, not raised.
    """
    options = options or ExtractionOptions()
    landmarks: list[npt.NDArray[np.float32]] = []
    crops: list[npt.NDArray[np.uint8]] = []
    frames: list[int] = []
    try:
        with open_film(video) as container:
            if not container.streams.video:
                return LeftOut(video, "has no pictures")
            stream = container.streams.video[0]
            stream.thread_count = 1
            fps = float(stream.average_rate or 0)
            check = max(1, round(options.two_faces_every_s * (fps or 25.0)))
            for index, picture, found in _faces(container.decode(stream), check, options.second_face):
                if index % options.every:
                    continue
                normalised, pose = normalise(found)
                frames.append(index)
                landmarks.append(normalised.astype(np.float32))
                if options.crop_size:
                    crops.append(aligned_face(picture, pose, options.crop_size))
    except (av.FFmpegError, OSError) as error:
        return LeftOut(video, f"cannot be decoded ({getattr(error, 'strerror', None) or error})")
    except _Unusable as reason:
        return LeftOut(video, str(reason))
    if len(frames) < max(options.min_frames, 1):
        what = "shows no face" if not frames else f"shows a face in {len(frames)} frames only"
        return LeftOut(video, what)
    paths = [stem.with_name(stem.name + suffix) for suffix in (".landmarks.npy", ".crops.npy")]
    np.save(paths[0], np.stack(landmarks))
    if crops:
        np.save(paths[1], np.stack(crops))
    return ExtractedTrack(video, np.array(frames, np.int32), fps, paths[0], paths[1] if crops else None)


def _faces(
    pictures: Iterator[av.VideoFrame], check: int, second_face: float
) -> Iterator[tuple[int, npt.NDArray[np.uint8], npt.NDArray[np.float32]]]:
    """Frames with a face: index, RGB picture and landmarks in its pixels.

    Raises:
        _Unusable: a second face is seen in two of the frames that were searched for one: a single hit may be
            a picture on the wall, or an error of the detector.
    """
    second = checks = 0
    with FaceDetector(static=False) as follow, FaceDetector(static=True, max_faces=2) as search:
        for index, frame in enumerate(pictures):
            picture = upright(frame)
            if index % check == 0:
                checks += 1
                sizes = [face_size(face) for face in search.detect(picture)]
                second += len(sizes) > 1 and sizes[1] >= second_face * sizes[0]
                if second >= 2:
                    raise _Unusable("shows two faces")
            found = follow.detect(picture)
            if found:
                yield index, picture, found[0]
    if second and checks == 1:
        raise _Unusable("shows two faces")


def extract_all(
    videos: Sequence[Path],
    folder: Path,
    options: ExtractionOptions | None = None,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[ExtractedTrack | LeftOut]:
    """:func:`extract_track` for every video, in the order given, over a pool of processes.

    Args:
        videos: the files.
        folder: for the landmark files; it must exist.
        workers: processes; 1 stays in this one.
        progress: told (videos done, videos) after each one.
    """
    stems = [folder / f"{index:06d}" for index in range(len(videos))]
    results: dict[int, ExtractedTrack | LeftOut] = {}
    if workers <= 1:
        for index, video in enumerate(videos):
            results[index] = extract_track(video, stems[index], options)
            if progress:
                progress(len(results), len(videos))
        return [results[index] for index in range(len(videos))]
    with ProcessPoolExecutor(min(workers, len(videos)), get_context("spawn"), _lower_priority) as pool:
        futures = {
            pool.submit(extract_track, video, stems[index], options): index
            for index, video in enumerate(videos)
        }
        for future in as_completed(futures):
            index = futures[future]
            try:
                results[index] = future.result()
            except BrokenProcessPool:
                # a decoder that crashes takes its process along, and with it whatever the pool still held
                results[index] = LeftOut(videos[index], "ended the process that read it, or its neighbour")
            if progress:
                progress(len(results), len(videos))
    return [results[index] for index in range(len(videos))]


def _lower_priority() -> None:
    os.nice(5)
