"""Decode camera pictures in a thread whose backlog, picture size and errors are bounded.

aiortc's decoder queue is unbounded, so a slow decoder becomes a growing delay; it decodes any picture size a
peer cares to announce; and stopping a receiver joins its thread on the event loop for as long as the backlog
takes. Here the backlog is a second at most, then a fresh keyframe is waited for, and takes the place of all
that waits; huge pictures are refused before they are decoded; and closing empties the queue first.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import av
from aiortc.codecs.vpx import Vp8Decoder
from aiortc.jitterbuffer import JitterFrame

from server import metrics
from server.media.colour import fit_within
from server.media.mends.marker_release import is_keyframe

logger = logging.getLogger(__name__)

#: A second of frames. A decoder that was held up is through with them in a fraction of that, and only the
#: newest picture goes on; dropping frames costs more, since it takes a keyframe to go on from there.
MAX_BACKLOG: Final = 30
KEYFRAME_RETRY_S: Final = 0.5
#: 4K: what a camera may send; more is refused undecoded.
MAX_PIXELS: Final = 3840 * 2160


def keyframe_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a VP8 keyframe announces (RFC 6386, section 9.1); None if it is malformed."""
    if len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
        return None
    return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF


class EncodedFrameQueue(queue.Queue[Any]):
    """The queue between a receiver and its decoder thread: at most ``backlog`` frames, then keyframes only.

    A frame that does not fit is dropped, and all behind it up to the next keyframe, since they build on it.
    That keyframe makes what still waits worthless.

    Args:
        keyframe_needed: set when a keyframe should be asked for.
        backlog: frames that may wait.
    """

    def __init__(self, keyframe_needed: threading.Event, backlog: int = MAX_BACKLOG) -> None:
        super().__init__()
        self._keyframe_needed = keyframe_needed
        self._backlog = backlog
        self._dropping = False
        self._asked = 0.0
        self.last_codec: Any = None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Queue ``(codec, JitterFrame)``, or None to end the decoder at once."""
        if item is None:
            self._clear()
            super().put(None)
            return
        codec, frame = item
        self.last_codec = codec
        if self._dropping and is_keyframe(frame.data):
            self._dropping = False
            metrics.FRAMES_DROPPED.labels("decode", "backlog").inc(self._clear())
        elif self.qsize() >= self._backlog:
            self._dropping = True
        if self._dropping:
            metrics.FRAMES_DROPPED.labels("decode", "backlog").inc()
            self._ask()
            return
        super().put(item)

    def _ask(self) -> None:
        now = time.monotonic()
        if now - self._asked >= KEYFRAME_RETRY_S:
            self._asked = now
            self._keyframe_needed.set()

    def _clear(self) -> int:
        with self.mutex:
            count = len(self.queue)
            self.queue.clear()
        return count


def decode_pictures(
    frames: EncodedFrameQueue,
    deliver: Callable[[av.VideoFrame], None],
    keyframe_needed: threading.Event,
) -> None:
    """Decode VP8 frames until None comes; the body of a receiver's decoder thread.

    Pictures above 1280x720 are scaled down here, off the event loop.

    Args:
        frames: ``(codec, JitterFrame)`` items.
        deliver: takes each yuv420p picture, on this thread.
        keyframe_needed: set when the stream cannot be decoded any further.
    """
    decoder = Vp8Decoder()
    while (item := frames.get()) is not None:
        frame: JitterFrame = item[1]
        if not _decodable(frame.data):
            metrics.FRAMES_DROPPED.labels("decode", "refused").inc()
            continue
        try:
            for picture in decoder.decode(frame):
                assert isinstance(picture, av.VideoFrame)
                metrics.FRAMES.labels("decoded").inc()
                deliver(fit_within(picture))
        except (av.FFmpegError, ValueError) as error:
            # The decoder is kept: a new one could not go on before the next keyframe either.
            logger.info("A camera frame could not be decoded: %s", error)
            metrics.FRAMES_DROPPED.labels("decode", "undecodable").inc()
            keyframe_needed.set()


def _decodable(data: bytes) -> bool:
    if not data:
        return False
    if not is_keyframe(data):
        return True
    size = keyframe_size(data)
    return size is not None and 0 < size[0] * size[1] <= MAX_PIXELS
