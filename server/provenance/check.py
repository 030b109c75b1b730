"""Checks files for the watermark: pictures, animated pictures and films."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence

from models.film import open_film
from server.provenance.detect import Aligned, Found, search

__all__ = ["CHANCE", "CheckError", "CheckErrorCode", "Verdict", "check_file", "check_pictures"]

Grey = npt.NDArray[np.uint8]
CheckErrorCode = Literal["not_there", "unreadable", "no_pictures", "too_large", "too_small"]

#: Greatest chance of a false alarm, as a power of ten, at which the watermark counts as found.
CHANCE: Final = -5.0
#: Pictures that add up: two seconds of a call. A film that is generated only in part is found by such a part.
_SECTION: Final = 50
#: Pictures of a film that are looked at, evenly spread where there are more.
_MOST_PICTURES: Final = 500
#: Pictures of a film in which other offsets and scales are searched for.
_SEARCHED: Final = 4
_MOST_PIXELS: Final = 50_000_000
_LEAST_SIDE: Final = 64
_IMAGES: Final = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


class CheckError(ValueError):
    """A file that cannot be checked.

    Attributes:
        code: why, for programs.
        message: a sentence for people.
    """

    def __init__(self, code: CheckErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: CheckErrorCode = code
        self.message = message


@dataclass(frozen=True)
class Verdict:
    """What a file holds.

    Attributes:
        found: whether it carries the watermark.
        best: the best agreement, its chance that of all looks together.
        pictures: how many were looked at.
        marked: how many of these carry it each by itself, as far as they are not cropped.
        searched: whether other offsets and scales had to be searched for.
    """

    found: bool
    best: Found
    pictures: int
    marked: int
    searched: bool


def check_file(path: Path) -> Verdict:
    """Check a picture or a film.

    Raises:
        CheckError: it is not there, cannot be read, holds no pictures, or ones too large or too small.
    """
    if not path.is_file():
        raise CheckError("not_there", f"{path}: there is no such file.")
    pictures = _images(path) if path.suffix.lower() in _IMAGES else _film(path)
    return check_pictures(pictures, str(path))


def check_pictures(pictures: Iterator[Grey], name: str = "picture") -> Verdict:
    """Check grey pictures ``[H, W]`` of one size that belong together.

    Raises:
        CheckError: there are none, or they are too small.
    """
    sections: list[Found] = []
    section: Aligned | None = None
    kept: list[Grey] = []
    count = marked = 0
    for grey in pictures:
        if min(grey.shape) < _LEAST_SIDE:
            raise CheckError("too_small", f"{name}: smaller than {_LEAST_SIDE} pixels.")
        if section is None or count % _SECTION == 0:
            if section is not None:
                sections.append(section.total())
            section = Aligned(grey.shape[1], grey.shape[0])
        marked += section.add(grey).log10_p <= CHANCE
        if count % (1 + _SECTION // _SEARCHED) == 0 and len(kept) < _SEARCHED:
            kept.append(grey)
        count += 1
    if section is None:
        raise CheckError("no_pictures", f"{name}: there are no pictures in it.")
    sections.append(section.total())
    best = min(sections, key=lambda found: found.log10_p)
    # twice: aligned and searched for
    best = _of(best, 2 * len(sections))
    if best.log10_p <= CHANCE:
        return Verdict(True, best, count, marked, False)
    other = _of(search(kept), 2)
    best = min(best, other, key=lambda found: found.log10_p)
    return Verdict(best.log10_p <= CHANCE, best, count, marked, True)


def _of(found: Found, looks: int) -> Found:
    """The same agreement as the best of so many looks."""
    chance = min(0.0, found.log10_p + float(np.log10(looks)))
    return Found(found.z, chance, found.scale, found.offset)


def _images(path: Path) -> Iterator[Grey]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            if image.width * image.height > _MOST_PIXELS:
                raise CheckError("too_large", f"{path}: more than {_MOST_PIXELS // 1_000_000} megapixels.")
            step = -(-getattr(image, "n_frames", 1) // _MOST_PICTURES)
            for index, frame in enumerate(ImageSequence.Iterator(image)):
                if index % step == 0:
                    yield np.asarray(frame.convert("RGB").convert("L"), np.uint8)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise CheckError("too_large", f"{path}: more than {_MOST_PIXELS // 1_000_000} megapixels.") from None
    except CheckError:
        raise
    except Exception as error:
        # Pillow's plug-ins raise nearly anything on damaged files (IndexError, TypeError, struct.error ...).
        raise CheckError("unreadable", f"{path}: no picture that can be read.") from error


def _film(path: Path) -> Iterator[Grey]:
    size: tuple[int, int] | None = None
    try:
        with open_film(path) as container:
            if not container.streams.video:
                raise CheckError("no_pictures", f"{path}: there are no pictures in it.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            step = _step(container, stream)
            for index, frame in enumerate(container.decode(stream)):
                if index % step:
                    continue
                if frame.width * frame.height > _MOST_PIXELS:
                    raise CheckError(
                        "too_large", f"{path}: more than {_MOST_PIXELS // 1_000_000} megapixels."
                    )
                grey = cv2.cvtColor(frame.to_ndarray(format="rgb24"), cv2.COLOR_RGB2GRAY)
                size = size or (grey.shape[1], grey.shape[0])
                if (grey.shape[1], grey.shape[0]) != size:  # a call's film may change its size
                    grey = cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC)
                yield grey
    except (av.FFmpegError, OSError) as error:
        raise CheckError("unreadable", f"{path}: neither a picture nor a film that can be read.") from error


def _step(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """Every how many pictures one is looked at."""
    count = stream.frames
    if not count and container.duration and stream.average_rate:
        count = int(container.duration / 1e6 * float(stream.average_rate))
    return max(1, -(-count // _MOST_PICTURES))
