"""Puts sound packets that overtook each other back in order, waiting only on networks where that happens.

A packet that comes late cannot be sent any more once its followers are gone: the sender numbers packets as
they leave. On a network whose jitter exceeds a packet's 20 ms most packets would be lost that way (measured:
half of all at 200 ms). So a gap is waited for, as long as late packets were late of late; where nothing ever
came late, as on most networks, a gap is a loss and nothing waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiortc.utils import uint16_add, uint16_gt

#: Longest time that sound waits for what is missing.
MAX_HOLD_S: Final = 0.25
#: Lateness seen in the last one to two such spans counts.
MEMORY_S: Final = 5.0
#: Waits so much longer than the latest packet of late.
MARGIN: Final = 1.25
#: Packets held; a second of sound.
MAX_HELD: Final = 50


class SoundOrder:
    """Takes packets in any order and hands them on in theirs.

    Args:
        emit: takes the payload and RTP timestamp of each packet, in order.
        clock: seconds, monotonic.
    """

    def __init__(
        self, emit: Callable[[bytes, int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._expected: int | None = None
        self._held: dict[int, tuple[bytes, int]] = {}
        self._gap_since: float | None = None  # when the first packet behind the gap came
        self._given_up: dict[int, float] = {}  # since when each was missing
        self._lateness = [0.0, 0.0]  # greatest: of this span, of the one before
        self._span_began = clock()

    @property
    def hold_s(self) -> float:
        """How long a gap is waited for now."""
        return min(MAX_HOLD_S, MARGIN * max(self._lateness))

    @property
    def due(self) -> float | None:
        """When :meth:`release` is to be called, if nothing comes before; None: nothing waits."""
        return None if self._gap_since is None else self._gap_since + self.hold_s

    def put(self, sequence: int, payload: bytes, timestamp: int) -> bool:
        """Take a packet; returns whether it is of use (False: too late, or a repetition)."""
        self._turn_span()
        if self._expected is None:
            self._expected = sequence
        if uint16_gt(self._expected, sequence):
            missing_since = self._given_up.pop(sequence, None)
            if missing_since is not None:
                self._late(self._clock() - missing_since)
            return False
        if sequence in self._held:
            return False
        self._held[sequence] = (payload, timestamp)
        if self._gap_since is not None and sequence == self._expected:
            self._late(self._clock() - self._gap_since)
        self._advance()
        self.release()
        return True

    def release(self, all_gaps: bool = False) -> None:
        """Give gaps up that were waited for long enough, or all of them."""
        while (due := self.due) is not None and (
            all_gaps or self._clock() >= due or len(self._held) > MAX_HELD
        ):
            self._skip_gap()
            self._advance()

    def _advance(self) -> None:
        assert self._expected is not None
        while (packet := self._held.pop(self._expected, None)) is not None:
            self._expected = uint16_add(self._expected, 1)
            self._gap_since = None
            self._emit(*packet)
        if not self._held:
            self._gap_since = None
        elif self._gap_since is None:
            self._gap_since = self._clock()

    def _skip_gap(self) -> None:
        assert self._expected is not None
        assert self._gap_since is not None
        expected = self._expected
        following = min(self._held, key=lambda sequence: (sequence - expected) & 0xFFFF)
        for offset in range(min((following - expected) & 0xFFFF, MAX_HELD)):
            self._given_up[uint16_add(following, -1 - offset)] = self._gap_since
        while len(self._given_up) > 2 * MAX_HELD:
            del self._given_up[next(iter(self._given_up))]
        self._expected = following

    def _late(self, seconds: float) -> None:
        self._lateness[0] = max(self._lateness[0], min(seconds, MAX_HOLD_S))

    def _turn_span(self) -> None:
        if self._clock() - self._span_began > MEMORY_S:
            self._span_began = self._clock()
            self._lateness = [0.0, self._lateness[0]]
