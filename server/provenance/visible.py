"""The visible mark that says a picture is generated."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

logger = logging.getLogger(__name__)

Picture = npt.NDArray[np.uint8]
MarkPlace = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_HEIGHT_SHARE: Final = 0.042  # of the picture: legible at 256 pixels, small at 512
_LEAST_PIXELS: Final = 9.0
_OPACITY: Final = 0.82


@dataclass(frozen=True)
class MarkSettings:
    """What is written on every generated frame, and where.

    Attributes:
        enabled: off only where the operator marks pictures in another way.
        text: the words.
        place: corner of the picture.
        watermark: whether the invisible watermark is woven in as well (:mod:`server.provenance.watermark`).
    """

    enabled: bool = True
    text: str = "AI-generated"
    place: MarkPlace = "bottom-right"
    watermark: bool = True


class VisibleMark:
    """Blends the mark into pictures of one size; drawn once, blended in well under 0.3 ms.

    Args:
        settings: text and place. A text too long for the picture is written smaller.
        size: pixels a side of the pictures.
    """

    def __init__(self, settings: MarkSettings, size: int) -> None:
        self._rows = self._columns = slice(0, 0)
        if not settings.enabled or not settings.text.strip():
            return
        pad = max(2, size // 100)
        font, (left, top, right, bottom) = _fitting(settings.text, size, size - 2 * pad)
        width, height = int(right - left) + 2 * pad, min(int(bottom - top) + 2 * pad, size)
        at = (pad - left, pad - top)
        shadow = Image.new("L", (width, height), 0)
        ImageDraw.Draw(shadow).text(
            at, settings.text, font=font, fill=255, stroke_width=max(1, size // 256), stroke_fill=255
        )
        text = Image.new("L", (width, height), 0)
        ImageDraw.Draw(text).text(at, settings.text, font=font, fill=255)
        # white letters with a dark rim: legible on any picture
        cover = np.asarray(shadow, np.float32)[..., None] / 255.0 * _OPACITY
        self._keep = 1.0 - cover
        self._add = cover * np.asarray(text, np.float32)[..., None]
        down, across = settings.place.split("-")
        self._rows = slice(size - height, size) if down == "bottom" else slice(0, height)
        self._columns = slice(size - width, size) if across == "right" else slice(0, width)

    @property
    def region(self) -> tuple[slice, slice]:
        """Rows and columns that the mark may change; empty when it is off."""
        return self._rows, self._columns

    def apply(self, picture: Picture) -> None:
        """Mark a picture ``[size, size, 3]`` in place."""
        if self._rows.stop:
            part = picture[self._rows, self._columns]
            part[:] = part * self._keep + self._add


def font_for(text: str, pixels: float) -> Font:
    """A font of this height that draws every letter of the text, if one of those at hand does.

    Pillow's own covers English; the one that comes with matplotlib, which MediaPipe brings along, most
    alphabets.
    """
    for font in _fonts(pixels):
        if all(letter.isspace() or _draws(font, letter) for letter in set(text)):
            return font
    logger.warning("No font at hand draws all letters of %r", text)
    return ImageFont.load_default(pixels)


def _fitting(text: str, size: int, widest: int) -> tuple[Font, tuple[float, float, float, float]]:
    """Font and bounding box of the mark, not wider than ``widest`` pixels."""
    pixels = max(_LEAST_PIXELS, _HEIGHT_SHARE * size)
    while True:
        font = font_for(text, pixels)
        box = font.getbbox(text)
        if box[2] - box[0] <= widest or pixels <= 4:
            return font, (box[0], box[1], min(box[2], box[0] + widest), box[3])
        pixels *= max(0.5, min(0.95, widest / (box[2] - box[0])))


def _fonts(pixels: float) -> Iterator[Font]:
    yield ImageFont.load_default(pixels)
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            yield ImageFont.truetype(str(path), pixels)


def _draws(font: Font, letter: str) -> bool:
    """Whether the font has the letter: otherwise it draws the same box as for a letter that nobody has."""
    missing = font.getmask("\U0010ffff")
    mask = font.getmask(letter)
    return (mask.size, bytes(mask)) != (missing.size, bytes(missing))
