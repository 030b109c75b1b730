"""The visible mark that says a picture is generated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]
MarkPlace = Literal["top-left", "top-right", "bottom-left", "bottom-right"]

_HEIGHT_SHARE = 0.042  # of the picture: legible at 256 pixels, small at 512
_OPACITY = 0.82


@dataclass(frozen=True)
class MarkSettings:
    """What is written on every generated frame, and where.

    Attributes:
        enabled: off only where the operator marks pictures in another way.
        text: the words.
        place: corner of the picture.
    """

    enabled: bool = True
    text: str = "AI-generated"
    place: MarkPlace = "bottom-right"


class VisibleMark:
    """Blends the mark into pictures of one size; drawn once, blended in well under a millisecond.

    Args:
        settings: text and place.
        size: pixels a side of the pictures.
    """

    def __init__(self, settings: MarkSettings, size: int) -> None:
        self._rows = self._columns = slice(0, 0)
        if not settings.enabled:
            return
        font = ImageFont.load_default(max(9.0, _HEIGHT_SHARE * size))
        left, top, right, bottom = font.getbbox(settings.text)
        pad = max(2, size // 100)
        width, height = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
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
        width, height = min(width, size), min(height, size)
        self._keep, self._add = self._keep[:height, :width], self._add[:height, :width]
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
