"""Figures of a driver's pictures: over the last seconds for people, and into the worker's metrics."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server import metrics
from server.inference.messages import PictureNote

#: Figures cover this many seconds.
SPAN_S: Final = 3.0


@dataclass(frozen=True)
class PictureStats:
    """Figures of one driver over the last three seconds; times in milliseconds, medians.

    Attributes:
        generator: its name.
        fps: generated frames a second.
        frame_ms: decoded camera frame to generated frame.
        age_ms: age of the newest generated frame when it is replaced.
        size: pixels a side.
        landmark_ms: detection, smoothing and retargeting.
        generate_ms: generation of the batch.
        batch: mean frames in a batch.
        lost_share: share of camera frames in which no face was found.
        dropped: camera frames overtaken by newer ones since the driver's slot was taken.
    """

    generator: str
    fps: float
    frame_ms: float
    age_ms: float
    size: int
    landmark_ms: float
    generate_ms: float
    batch: float
    lost_share: float
    dropped: int


def picture_stats(
    answers: Sequence[tuple[float, PictureNote]], now: float, *, generator: str, size: int, dropped: int
) -> PictureStats | None:
    """Figures of the answers (when they came, and what they say); None if no frame was generated lately."""
    recent = [(at, note) for at, note in answers if now - at < SPAN_S]
    made = [(at, note) for at, note in recent if note.generated]
    if not made:
        return None
    replaced = [at - before.time for (_, before), (at, _) in itertools.pairwise(made)]
    frame_ms = 1000 * statistics.median(at - note.time for at, note in made)
    return PictureStats(
        generator=generator,
        fps=len(made) / max(now - made[0][0], 1.0),
        frame_ms=frame_ms,
        age_ms=1000 * statistics.median(replaced) if replaced else frame_ms,
        size=size,
        landmark_ms=1000 * statistics.median(note.landmark_s for _, note in made),
        generate_ms=1000 * statistics.median(note.generate_s for _, note in made),
        batch=statistics.fmean(note.batch for _, note in made),
        lost_share=sum(note.outcome == "no_face" for _, note in recent) / len(recent),
        dropped=dropped,
    )


def measure(note: PictureNote, now: float) -> None:
    """Count an answer in the worker's metrics."""
    if not note.generated:
        metrics.FRAMES_DROPPED.labels("inference", note.outcome).inc()
        return
    metrics.FRAMES.labels("generated").inc()
    metrics.FRAME_SECONDS.observe(now - note.time)
    metrics.LANDMARK_SECONDS.observe(note.landmark_s)
    metrics.GENERATE_SECONDS.observe(note.generate_s)
    metrics.BATCH_SIZE.observe(note.batch)


def dropped(reason: str) -> None:
    """Count a camera frame that was let go of, or an answer that counts no more."""
    metrics.FRAMES_DROPPED.labels("inference", reason).inc()
