"""Makes one moving picture: target, then templates or a driver's clip, then a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.animation.animator import Animator
from models.animation.driving import motions_of
from models.generator import Generator, Landmarks, Picture
from models.templates.template import Template
from models.templates.timeline import Timeline
from server.animation.clip import ClipLimits, read_clip
from server.animation.encode import format_of, writing
from server.animation.errors import AnimationError
from server.animation.options import AnimationOptions
from server.animation.paste import WholePhoto
from server.provenance import MarkSettings, VisibleMark, Watermark

__all__ = ["Progress", "Subject", "Work", "render"]

#: Told (what is being done, steps done, steps or None).
Progress = Callable[[str, int, int | None], None]
_FPS: Final = 25.0


@dataclass(frozen=True)
class Subject:
    """Whose photos are moved.

    Attributes:
        images: ``[K, 512, 512, 3]`` RGB uint8 crops.
        landmarks: ``[K, 478, 3]`` float32, pixels of the crops.
        photos, transforms: the whole photos ``[H, W, 3]`` and from their pixels to the crops' ``[2, 3]``;
            none where only crops are kept.
    """

    images: Picture
    landmarks: Landmarks
    photos: Sequence[Picture] = ()
    transforms: Sequence[npt.NDArray[np.float64]] = ()


@dataclass(frozen=True)
class Work:
    """One moving picture to be made.

    Attributes:
        subject: whose.
        templates: shown one after another; or none, and
        driver: the file or folder whose motion is followed.
        out: the file; its name says which format.
        options: as chosen.
        mark: what says visibly that it is generated.
        limits: of the driver's clip.
    """

    subject: Subject
    out: Path
    templates: Sequence[Template] = ()
    driver: Path | None = None
    options: AnimationOptions = field(default_factory=AnimationOptions)
    mark: MarkSettings = field(default_factory=MarkSettings)
    limits: ClipLimits = field(default_factory=ClipLimits)


def render(work: Work, make_generator: Callable[[int], Generator], progress: Progress | None = None) -> int:
    """Make it; the file is there at the end, or not at all.

    Args:
        make_generator: gives a generator of a size, 256 or 512.

    Returns:
        How many pictures it has.

    Raises:
        AnimationError: it cannot be made.
        ValueError: neither templates nor driver are given, or both.
    """
    if bool(work.templates) == (work.driver is not None):
        raise ValueError("either templates or a driver move a photo")
    kind = format_of(work.out)
    options, subject = work.options, work.subject
    if options.whole and not subject.photos:
        raise AnimationError("not_whole", "Of this target only the face is kept, not the whole photo.")
    cv2.setNumThreads(1)
    tell = progress or (lambda what, done, total: None)
    sound: Path | None = None
    if work.driver is not None:
        clip = read_clip(
            work.driver,
            fps=options.fps,
            until=options.seconds,
            limits=work.limits,
            progress=lambda done, total: tell("reading the driver", done, total),
        )
        animator = _animator(work, make_generator)
        count, fps, sound = len(clip.landmarks), clip.fps, clip.sound
        pictures = animator.follow(motions_of(clip.landmarks, clip.times), intensity=options.intensity)
    else:
        animator = _animator(work, make_generator)
        timeline = Timeline(
            work.templates, seconds=options.seconds, intensity=options.intensity, play=options.play
        )
        fps = options.fps or _FPS
        samples = timeline.frames(fps)
        count, pictures = len(samples), animator.play(samples)
    with writing(work.out, kind, fps, sound=sound, endless=options.play == "loop") as writer:
        for index, picture in enumerate(_finished(pictures, animator, work)):
            writer.write(picture)
            tell("drawing", index + 1, count)
    return count


def _animator(work: Work, make_generator: Callable[[int], Generator]) -> Animator:
    return Animator(make_generator(work.options.size), work.subject.images, work.subject.landmarks)


def _finished(pictures: Iterator[Picture], animator: Animator, work: Work) -> Iterator[Picture]:
    """In the whole photo where that is wanted, and marked."""
    whole: WholePhoto | None = None
    if work.options.whole:
        photo, transform = work.subject.photos[animator.photo], work.subject.transforms[animator.photo]
        whole = WholePhoto(photo, transform, work.subject.images.shape[1], animator.still)
    side = min(whole.still.shape[:2]) if whole else work.options.size
    mark = VisibleMark(work.mark, side)
    watermark: Watermark | None = None
    for picture in pictures:
        marked = whole.show(picture) if whole else picture.copy()
        down, across = work.mark.place.split("-")
        rows = slice(-side, None) if down == "bottom" else slice(0, side)
        columns = slice(-side, None) if across == "right" else slice(0, side)
        mark.apply(marked[rows, columns])
        if work.mark.watermark:
            watermark = watermark or Watermark(marked.shape[1], marked.shape[0])
            watermark.apply_rgb(marked)
        yield marked
