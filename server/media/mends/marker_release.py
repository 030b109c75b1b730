"""Release a video frame at its RTP marker bit, and never wait long for one that cannot be completed.

aiortc's jitter buffer hands out frame N when the first packet of N+1 arrives: one frame period of delay
for nothing. It also hands out one frame for each packet at most, so a gap that is filled late leaves a
lasting backlog; it takes a padding-only packet for an empty frame, which puts the decoder into drain mode;
and it waits for a lost packet until 512 others have come, eight seconds of a still picture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add, uint16_gt

from server import metrics

#: How long a lost packet is waited for: retransmission takes one round trip, twice that if lost again.
MAX_WAIT_S: Final = 0.35
#: A keyframe that was asked for is asked for again after this long.
KEYFRAME_RETRY_S: Final = 0.3


def is_frame_start(packet: RtpPacket) -> bool:
    """Whether a VP8 packet begins a frame: S bit set and partition index 0 (RFC 7741, section 4.2)."""
    return bool(packet.payload) and packet.payload[0] & 0x17 == 0x10


def is_keyframe(data: bytes) -> bool:
    """Whether VP8 data is a keyframe: the first bit of its frame tag is 0 (RFC 6386, section 9.1)."""
    return bool(data) and not data[0] & 1


class MarkerJitterBuffer(JitterBuffer):
    """Re-assembles VP8 frames from packets in any order.

    Args:
        capacity: packets held; a power of 2.
        max_wait: seconds a missing packet is waited for before the frames that need it are given up.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        capacity: int = 512,
        max_wait: float = MAX_WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(capacity=capacity, is_video=True)
        self._clock = clock
        self._max_wait = max_wait
        self._newest: int | None = None
        self._blocked_since: float | None = None
        self._awaiting_keyframe = True
        self._keyframe_asked = clock()  # a stream begins with one: do not ask before it can be here

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take a packet; returns whether a keyframe should be asked for, and a frame if one is complete."""
        if self._newest is None or uint16_gt(packet.sequence_number, self._newest):
            self._newest = packet.sequence_number
        lost, frame = super().add(packet)
        if lost:  # aiortc made room by throwing packets away
            self._newest = packet.sequence_number
            self._start_over("overflow")
        return self._wants_keyframe(), frame

    def pop(self) -> JitterFrame | None:
        """The next complete frame, if there is one: a packet that fills a gap may complete several."""
        return self._remove_frame(0) if self._origin is not None else None

    @property
    def expected(self) -> int | None:
        """Sequence number of the oldest packet still waited for or held."""
        return self._origin

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        while (frame := self._next_frame()) is not None:
            if is_keyframe(frame.data):
                self._awaiting_keyframe = False
            if not self._awaiting_keyframe:
                return frame
            metrics.FRAMES_DROPPED.labels("receive", "awaiting_keyframe").inc()
        return None

    def _next_frame(self) -> JitterFrame | None:
        self._skip_padding()
        frame = self._complete_frame()
        if frame is not None:
            self._blocked_since = None
            return frame
        if self._gap() is None:
            self._blocked_since = None
            return None
        now = self._clock()
        if self._blocked_since is None:
            self._blocked_since = now
        elif now - self._blocked_since > self._max_wait:
            self._skip_gap()
            return self._next_frame()
        return None

    def _at(self, offset: int) -> RtpPacket | None:
        assert self._origin is not None
        return self._packets[(self._origin + offset) % self._capacity]

    def _skip_padding(self) -> None:
        while (packet := self._at(0)) is not None and not packet._data:  # type: ignore[attr-defined]
            self.remove(1)

    def _complete_frame(self) -> JitterFrame | None:
        data: list[bytes] = []
        timestamp: int | None = None
        for count in range(self._capacity):
            packet = self._at(count)
            if packet is None:
                return None
            if timestamp is None:
                timestamp = packet.timestamp
            elif packet.timestamp != timestamp:  # a sender that sets no marker
                self.remove(count)
                return JitterFrame(b"".join(data), timestamp)
            data.append(packet._data)  # type: ignore[attr-defined]
            if packet.marker:
                self.remove(count + 1)
                return JitterFrame(b"".join(data), timestamp)
        return None

    def _gap(self) -> int | None:
        """Offset of the first missing packet that later ones have overtaken."""
        assert self._origin is not None
        if self._newest is None:
            return None
        for offset in range(self._capacity):
            if self._at(offset) is None:
                return offset if uint16_gt(self._newest, uint16_add(self._origin, offset)) else None
        return None

    def _skip_gap(self) -> None:
        """Give up the frames that need the missing packets; go on with the next frame that starts whole."""
        gap = self._gap()
        assert gap is not None
        assert self._newest is not None
        self.remove(gap)
        while (origin := self._origin) is not None and not uint16_gt(origin, self._newest):
            packet = self._at(0)
            if packet is not None and is_frame_start(packet):
                break
            self.remove(1)
        self._start_over("lost")

    def _start_over(self, reason: str) -> None:
        metrics.FRAMES_DROPPED.labels("receive", reason).inc()
        self._blocked_since = None
        self._awaiting_keyframe = True
        self._keyframe_asked = -math.inf

    def _wants_keyframe(self) -> bool:
        now = self._clock()
        if self._awaiting_keyframe and now - self._keyframe_asked >= KEYFRAME_RETRY_S:
            self._keyframe_asked = now
            return True
        return False
