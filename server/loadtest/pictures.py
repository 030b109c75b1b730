"""Looks at received pictures: marked as generated, the right target, never the driver's own camera.

Two pictures are compared by the mean absolute difference of their colours at 16x16 pixels, in grey levels
(0..255). A built-in target that moves differs from its own preview by at most 17, from any other's by at
least 40; their patterns, the mean colour taken off, correlate by 0.87 or more with its own, by 0.69 at most
with any other's (measured over a period of the synthetic performance, all built-in targets, mesh warp at 256
pixels). The second keeps a flat grey from passing for a target on a grey ground. The background of the
synthetic camera is of a colour that no target has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import av
import cv2
import numpy as np
import numpy.typing as npt

from server.bench.clip import BACKGROUND
from server.provenance.check import CHANCE
from server.provenance.detect import Aligned

__all__ = ["CameraView", "Looked", "PictureJudge", "has_background", "thumbnail"]

Rgb = npt.NDArray[np.uint8]
Thumbnail = npt.NDArray[np.float32]
Shows = Literal["target", "other target", "camera", "unknown"]

_SIDE: Final = 16
#: Grey levels up to which a picture is taken for a target's.
MOST_DIFFERENCE: Final = 30.0
#: And their patterns must correlate by this much.
LEAST_CORRELATION: Final = 0.78
#: And it must be nearer to its own target than to any other by this factor.
_CLEARLY: Final = 0.75
#: Grey levels up to which a picture is taken for the camera's.
_CAMERA_DIFFERENCE: Final = 28.0
#: Share of pixels of the camera's background that no generated picture has.
_BACKGROUND_SHARE: Final = 0.02
_BACKGROUND_NEAR: Final = 70
#: U and V of it, and how near a pixel's must be.
_BACKGROUND_CHROMA: Final = (202, 222)
_CHROMA_NEAR: Final = 24
#: The synthetic driver never rests: at 64x64, pictures of it a second apart differ by 8 grey levels or more;
#: one that is sent anew differs from itself, by what the codec does to it, by 2.4 at most (both measured).
_UNMOVED: Final = 4.0
_MOTION_SIDE: Final = 64
#: Pictures whose watermarks add up to one verdict.
SECTION: Final = 4


def thumbnail(picture: Rgb, side: int = _SIDE) -> Thumbnail:
    """A picture ``[H, W, 3]`` made small."""
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)


def difference(one: Thumbnail, other: Thumbnail) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(one - other).mean())


def correlation(one: Thumbnail, other: Thumbnail) -> float:
    """Of what is left when each one's mean colour is taken off: -1..1; 0 where one is flat."""
    a, b = one - one.mean((0, 1)), other - other.mean((0, 1))
    power = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / power if power > 0 else 0.0


class CameraView:
    """What a synthetic driver's camera sees, and how it would look at a peer.

    Args:
        frames: RGB pictures of the film ``[480, 640, 3]``, some of each part of it.
    """

    def __init__(self, frames: Sequence[Rgb]) -> None:
        self._views = [thumbnail(part) for frame in frames for part in _ways_to_show(frame)]

    def is_shown(self, picture: Rgb, small: Thumbnail) -> bool:
        """Whether a picture is, or has parts of, the camera's."""
        if min((difference(small, view) for view in self._views), default=np.inf) < _CAMERA_DIFFERENCE:
            return True
        away = np.abs(picture[::2, ::2].astype(np.int16) - np.array(BACKGROUND, np.int16)).max(-1)
        return float((away < _BACKGROUND_NEAR).mean()) > _BACKGROUND_SHARE


def has_background(picture: av.VideoFrame) -> bool:
    """Whether a yuv420p picture has the colour of the camera's background; quick enough for every picture."""
    planes = zip(picture.planes[1:3], _BACKGROUND_CHROMA, strict=True)
    away = [np.abs(_plane(plane)[::2, ::2].astype(np.int16) - level) for plane, level in planes]
    return float((np.maximum(*away) < _CHROMA_NEAR).mean()) > _BACKGROUND_SHARE


def _plane(plane: av.video.plane.VideoPlane) -> npt.NDArray[np.uint8]:
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _ways_to_show(frame: Rgb) -> list[Rgb]:
    """The whole, scaled to the square that calls show, and squares of its middle."""
    height, width = frame.shape[:2]
    ways = [frame]
    for side in (height, height * 11 // 12, height * 5 // 6, height * 3 // 4):
        top, left = (height - side) // 2, (width - side) // 2
        ways.append(frame[top : top + side, left : left + side])
    return ways


@dataclass
class Looked:
    """What was seen in one stream.

    Attributes:
        pictures: how many generated pictures were looked at.
        right: of these, how many show the right target.
        wrong: what the others show, as ``maeve`` or ``unknown``.
        camera: how many show the driver's own camera.
        stills: further pictures looked at while the service said that it shows a still.
        unmoved: of the generated ones, how many are the same as the one before, a second earlier.
        sections: groups of pictures whose watermarks were added up.
        marked: of these, how many have the watermark.
    """

    pictures: int = 0
    right: int = 0
    wrong: list[str] = field(default_factory=list)
    camera: int = 0
    stills: int = 0
    unmoved: int = 0
    sections: int = 0
    marked: int = 0


class PictureJudge:
    """Looks at the pictures of one stream.

    Args:
        target: id of the target that it must show.
        previews: preview pictures of targets by id, RGB; ``target`` among them.
        camera: what it must not show.
    """

    def __init__(self, target: str, previews: Mapping[str, Thumbnail], camera: CameraView) -> None:
        self.looked = Looked()
        self._target = target
        self._previews = previews
        self._camera = camera
        self._aligned: Aligned | None = None
        self._shape: tuple[int, ...] = ()
        self._added = 0
        self._before: Thumbnail | None = None

    def look(self, picture: Rgb, *, generated: bool = True) -> str:
        """Look at a picture.

        Args:
            picture: ``[H, W, 3]``.
            generated: whether the service says that it is generated; of a still (which bears a notice, or is
                a card of no target) only that it is not the camera is looked at.

        Returns:
            The id of the target shown, ``camera``, ``still`` or ``unknown``.
        """
        looked, small = self.looked, thumbnail(picture)
        if self._camera.is_shown(picture, small):
            looked.camera += 1
            return "camera"
        if not generated:
            self._before = None
            looked.stills += 1
            return "still"
        looked.pictures += 1
        looked.unmoved += self._is_as_before(picture)
        self._add_mark(picture)
        shown = self._nearest(small)
        if shown == self._target:
            looked.right += 1
        else:
            looked.wrong.append(shown)
        return shown

    def finish(self) -> Looked:
        """What was seen, with what has been added up of the last section's marks."""
        if self._added:
            self._end_section()
        return self.looked

    def _is_as_before(self, picture: Rgb) -> bool:
        now = thumbnail(picture, _MOTION_SIDE)
        before, self._before = self._before, now
        return before is not None and difference(before, now) < _UNMOVED

    def _nearest(self, small: Thumbnail) -> str:
        away = sorted((difference(small, preview), id) for id, preview in self._previews.items())
        least, nearest = away[0]
        is_clear = len(away) == 1 or least <= _CLEARLY * away[1][0]
        is_alike = correlation(small, self._previews[nearest]) >= LEAST_CORRELATION
        return nearest if least <= MOST_DIFFERENCE and is_clear and is_alike else "unknown"

    def _add_mark(self, picture: Rgb) -> None:
        if self._aligned is None or self._shape != picture.shape:
            if self._added:
                self._end_section()
            self._aligned, self._shape = Aligned(picture.shape[1], picture.shape[0]), picture.shape
        self._aligned.add(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8))
        self._added += 1
        if self._added == SECTION:
            self._end_section()

    def _end_section(self) -> None:
        assert self._aligned is not None
        self.looked.sections += 1
        self.looked.marked += self._aligned.total().log10_p <= CHANCE
        self._aligned, self._added = None, 0
