"""Many-shot separation: every landmark as average + identity + expression (Eq. 2-4 and 9-11; claims 14-28).

The average is over all frames of all videos, the identity of a video is its own mean minus that average, and
what a frame differs from its video's mean by is its expression. The patent assumes ([0162]) that a person's
expressions average to nothing over a video: who smiles all through theirs has the smile in their identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Track = npt.NDArray[np.floating]
Progress = Callable[[int, int], None]

__all__ = ["ArrayTrack", "FileTrack", "Separation", "StreamedSeparation", "separate", "separate_streaming"]

#: Frames read at once from a track that is streamed: 478 points of them are 23 MB as float64.
CHUNK_FRAMES = 2048


class TrackSource(Protocol):
    """One video's normalised landmarks, in chunks; read once for each of the two passes."""

    def chunks(self) -> Iterator[Track]:
        """Arrays ``[t, N, 3]`` whose frames, one chunk after another, are the video's."""
        ...


@dataclass(frozen=True)
class ArrayTrack:
    """A track in memory, ``[T, N, 3]``."""

    landmarks: Track

    def chunks(self) -> Iterator[Track]:
        for start in range(0, len(self.landmarks), CHUNK_FRAMES):
            yield self.landmarks[start : start + CHUNK_FRAMES]


@dataclass(frozen=True)
class FileTrack:
    """A track in a ``.npy`` file of shape ``[T, N, 3]``, of which only a chunk is in memory at a time."""

    path: str

    def chunks(self) -> Iterator[Track]:
        landmarks = np.load(self.path, mmap_mode="r")
        for start in range(0, len(landmarks), CHUNK_FRAMES):
            yield np.array(landmarks[start : start + CHUNK_FRAMES])


@dataclass(frozen=True)
class Separation:
    """Landmarks of C videos, taken apart; the three parts add up to the landmarks (Eq. 2).

    Attributes:
        average: ``[N, 3]`` float64, over all frames of all videos (Eq. 3, 9).
        identity: ``[C, N, 3]`` float64, of each video's person (Eq. 4, 10).
        expression: for each video ``[T_c, N, 3]``, of its frames (Eq. 11), in the dtype of its track; each
            averages to zero.
    """

    average: Float64
    identity: Float64
    expression: list[Track]


@dataclass(frozen=True)
class StreamedSeparation:
    """What separation keeps of videos that do not fit into memory.

    Attributes:
        average: ``[N, 3]`` float64.
        identity: ``[C, N, 3]`` float64.
        frames: of each video, ``[C]``.
    """

    average: Float64
    identity: Float64
    frames: npt.NDArray[np.int64]
    _sources: Sequence[TrackSource]

    def expression(self, video: int) -> Iterator[Track]:
        """The second pass over a video: its expressions (Eq. 11), chunk by chunk ``[t, N, 3]``."""
        mean = self.average + self.identity[video]
        for chunk in self._sources[video].chunks():
            yield _minus(chunk, mean)


def separate(tracks: Sequence[Track], *, workers: int = 1, progress: Progress | None = None) -> Separation:
    """Take the landmarks of videos apart, all in memory.

    Args:
        tracks: normalised landmarks, one person a video: C arrays ``[T_c, N, 3]``, the same N in all.
        workers: threads; the result does not depend on their number.
        progress: told (videos done, videos) after each one.

    Raises:
        ValueError: no tracks, one that is empty, not finite, of another N or of another shape.
    """
    sources = [ArrayTrack(np.asarray(track)) for track in tracks]
    with _executor(workers, ThreadPoolExecutor) as pool:
        streamed = _first_pass(sources, pool, progress)
    means = streamed.average + streamed.identity
    return Separation(
        average=streamed.average,
        identity=streamed.identity,
        expression=[_minus(source.landmarks, mean) for source, mean in zip(sources, means, strict=True)],
    )


def separate_streaming(
    sources: Sequence[TrackSource], *, workers: int = 1, progress: Progress | None = None
) -> StreamedSeparation:
    """Take apart videos that need not fit into memory: running sums first, expressions when asked for.

    Args:
        sources: of the C videos' normalised landmarks.
        workers: processes that read them; with more than one, the sources are pickled. The result does
            not depend on their number.
        progress: told (videos done, videos) after each one.

    Raises:
        ValueError: as :func:`separate`.
    """
    with _executor(workers, _spawned) as pool:
        return _first_pass(sources, pool, progress)


def _first_pass(
    sources: Sequence[TrackSource], pool: Executor | None, progress: Progress | None
) -> StreamedSeparation:
    if not sources:
        raise ValueError("there are no tracks to separate")
    sums: list[Float64] = []
    counts: list[int] = []
    results: Iterable[tuple[Float64, int]] = (pool.map if pool else map)(_sum_of, sources)
    for index, (total, count) in enumerate(results):
        if sums and total.shape != sums[0].shape:
            raise ValueError(
                f"track {index} has {total.shape[0]} landmarks a frame where track 0 has {sums[0].shape[0]}"
            )
        if not np.isfinite(total).all():
            raise ValueError(f"track {index} has landmarks that are not finite")
        sums.append(total)
        counts.append(count)
        if progress:
            progress(len(sums), len(sources))
    frames = np.array(counts, np.int64)
    stacked = np.stack(sums)
    average = stacked.sum(0) / frames.sum()
    return StreamedSeparation(average, stacked / frames[:, None, None] - average, frames, sources)


def _sum_of(source: TrackSource) -> tuple[Float64, int]:
    """Sum over the frames of a track, and how many they are."""
    total: Float64 | None = None
    count = 0
    for chunk in source.chunks():
        if chunk.ndim != 3 or chunk.shape[2] != 3 or chunk.shape[1] == 0:
            raise ValueError(f"a track is an array [T, N, 3], not {list(chunk.shape)}")
        part = chunk.sum(axis=0, dtype=np.float64)
        total = part if total is None else total + part
        count += len(chunk)
    if total is None or count == 0:
        raise ValueError("a track has no frames")
    return total, count


def _minus(landmarks: Track, mean: Float64) -> Track:
    dtype = landmarks.dtype if np.issubdtype(landmarks.dtype, np.floating) else np.dtype(np.float64)
    return (landmarks.astype(np.float64) - mean).astype(dtype)


def _spawned(workers: int) -> Executor:
    # a fork of a process that runs threads (torch, OpenCV) may hang
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


class _NoExecutor:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _executor(workers: int, make: Callable[[int], Executor]) -> Executor | _NoExecutor:
    return make(workers) if workers > 1 else _NoExecutor()
