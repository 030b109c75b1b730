"""What is shown when there is no generated frame: the still target with a notice, or a neutral card."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from server.provenance import MarkSettings, VisibleMark, Watermark, font_for
from server.targets.folder import TargetUnreadable
from server.targets.store import PreparedTarget, TargetUnknown
from signaling.protocol import DriverState

logger = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]

#: What is written on a still, by the driver's state.
NOTICES: Final[dict[DriverState, str]] = {
    "calibrating": "Starting…",
    "live": "",
    "no_video": "No picture from the camera",
    "camera_off": "Camera off",
    "no_target": "No face chosen",
    "no_face": "No face found",
    "late": "Catching up…",
    "failed": "Picture unavailable",
    "restarting": "Restarting…",
}
_CARD_TOP, _CARD_BOTTOM = (52, 58, 70), (30, 34, 42)
#: A target that could not be read is left alone this long (seconds): doubled at each further failure.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0


class _Again(NamedTuple):
    """When a target that could not be read is drawn again: never before the drawing under way has ended."""

    at: float
    pause: float


class Stills:
    """Draws and keeps stills; drawing happens in a thread of its own, never in an event loop.

    Args:
        load: gives a target by its id.
        size: pixels a side.
        mark: also on stills, since they show a target's face.
    """

    def __init__(self, load: Callable[[str], PreparedTarget], size: int, mark: MarkSettings) -> None:
        self._load = load
        self._size = size
        self._mark = VisibleMark(mark, size)
        self._watermark = Watermark(size, size) if mark.watermark else None
        self._low = mark.place.startswith("top")  # the notice keeps clear of the mark
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="stills")
        self._sets: dict[str, Future[dict[DriverState, Bytes]]] = {}
        self._again: dict[str, _Again] = {}  # of targets that could not be read and are not drawn yet
        self._cards = {state: _to_i420(self._with_notice(self._card(), state)) for state in NOTICES}

    def prepare(self, target: str) -> None:
        """Start drawing a target's stills, unless they are there already."""
        if target not in self._sets or self._error(target) is not None:
            self._sets[target] = self._threads.submit(self._draw, target)

    def redraw(self, now: float) -> None:
        """Draw again, after growing pauses, what could not be read: too many open files, a disk in trouble.

        That there is no such target is an answer, and is not asked again.

        Args:
            now: monotonic seconds.
        """
        for target, held in self._sets.items():
            if not held.done():
                continue
            error = self._error(target)
            if error is None or (
                isinstance(error, TargetUnknown) and not isinstance(error, TargetUnreadable)
            ):
                self._again.pop(target, None)
                continue
            again = self._again.get(target)
            if again is None:
                self._again[target] = _Again(now + _FIRST_PAUSE_S, _FIRST_PAUSE_S)
            elif again.at == math.inf:  # it was drawn again, in vain
                pause = min(2 * again.pause, _LONGEST_PAUSE_S)
                self._again[target] = _Again(now + pause, pause)
            elif now >= again.at:
                self._again[target] = _Again(math.inf, again.pause)
                self._sets[target] = self._threads.submit(self._draw, target)

    def when_drawn(self, target: str, then: Callable[[], None]) -> None:
        """Have something done, in another thread, once a target's stills are drawn or cannot be."""
        self._sets[target].add_done_callback(lambda _: then())

    def keep_only(self, targets: set[str]) -> None:
        """Let go of all other targets' stills."""
        for target in self._sets.keys() - targets:
            self._sets.pop(target).cancel()
            self._again.pop(target, None)

    def ready(self, target: str | None) -> bool:
        """Whether this target's own stills can be shown."""
        held = self._sets.get(target) if target is not None else None
        return held is not None and held.done() and not held.cancelled() and held.exception() is None

    def _error(self, target: str) -> BaseException | None:
        """Why the target's stills could not be drawn, if they could not."""
        held = self._sets.get(target)
        return None if held is None or not held.done() or held.cancelled() else held.exception()

    def missing(self, target: str) -> bool:
        """Whether the target could not be loaded, and has not been since."""
        return self._error(target) is not None or (target in self._again and not self.ready(target))

    def get(self, target: str | None, state: DriverState) -> Bytes:
        """The still for a state, ``[size * 3 // 2, size]``; a neutral card while there is no other."""
        if target is not None and self.ready(target):
            return self._sets[target].result()[state]
        return self._cards[state]

    def close(self) -> None:
        """Stop drawing."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _draw(self, target: str) -> dict[DriverState, Bytes]:
        try:
            photo = self._load(target).images[0]
            photo = cv2.resize(photo, (self._size, self._size), interpolation=cv2.INTER_AREA)
        except Exception as error:
            # The id of an upload is its key: it belongs in no log.
            if target not in self._again:  # said once, not at each attempt
                logger.warning("A target's picture cannot be shown: %s", type(error).__name__)
            raise
        stills = {}
        for state in NOTICES:
            picture = self._with_notice(photo.copy(), state)
            self._mark.apply(picture)
            if self._watermark is not None:
                self._watermark.apply_rgb(picture)
            stills[state] = _to_i420(picture)
        return stills

    def _card(self) -> Bytes:
        """A head's outline on a quiet ground."""
        size = self._size
        ramp = np.linspace(0.0, 1.0, size)[:, None, None]
        ground = (1 - ramp) * np.array(_CARD_TOP) + ramp * np.array(_CARD_BOTTOM)
        card = np.ascontiguousarray(np.broadcast_to(ground, (size, size, 3)).astype(np.uint8))
        grey = (92, 100, 116)
        cv2.circle(card, (size // 2, int(size * 0.40)), int(size * 0.15), grey, -1, cv2.LINE_AA)
        cv2.ellipse(
            card, (size // 2, int(size * 0.86)), (int(size * 0.27), int(size * 0.26)), 0, 180, 360, grey, -1,
            cv2.LINE_AA,
        )  # fmt: skip
        return card

    def _with_notice(self, picture: Bytes, state: DriverState) -> Bytes:
        """Write a state's notice on a dark band, in place."""
        text = NOTICES[state]
        if not text:
            return picture
        size = self._size
        font = font_for(text, max(11.0, size * 0.055))
        left, top, right, bottom = font.getbbox(text)
        pad = size // 32
        width, height = int(right - left), int(bottom - top)
        x = (size - width) // 2
        # The page's own labels lie in a picture's upper corners: the notice stays under them.
        y = size - size // 24 - height - 2 * pad if self._low else size // 10
        band = picture[y : y + height + 2 * pad, max(x - pad, 0) : x + width + pad]
        band[:] = (band * 0.35).astype(np.uint8)
        image = Image.fromarray(picture)
        ImageDraw.Draw(image).text((x - left, y + pad - top), text, font=font, fill=(255, 255, 255))
        picture[:] = np.asarray(image)
        return picture


def _to_i420(picture: Bytes) -> Bytes:
    i420 = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    i420.flags.writeable = False
    return np.asarray(i420)
