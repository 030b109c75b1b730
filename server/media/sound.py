"""A driver's sound on its way to the viewers: packets as they came, capped, silence where there are none."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server import metrics
from server.media.interfaces import SoundPacket

SAMPLE_RATE: Final = 48000
FRAME_SAMPLES: Final = 960
#: Sound that has waited for longer for a viewer's sender is let go: what fills up before a connection is made
#: would delay all that follows. By age, since a burst after a stall is no delay yet: the viewer's browser
#: evens it out.
MAX_AGE_S: Final = 0.08
#: Packets of such a burst.
MAX_WAITING: Final = 25
#: An Opus packet of 20 ms of silence (full band, mono, one frame; RFC 6716, section 3.1).
SILENCE: Final = b"\xf8\xff\xfe"
#: Sound that pauses for longer than Opus's discontinuous transmission does (400 ms) is missing.
PAUSE_S: Final = 0.5
#: While silent, a packet at times keeps the viewer's clock and the way through address translators.
SILENCE_INTERVAL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Waiting:
    payload: bytes
    timestamp: int
    run: int
    arrived: float


class ViewerSound:
    """One viewer's sound: a :class:`~server.media.interfaces.SoundSource`.

    Packets keep the distances of the microphone's own clock as long as they come in one run; between runs,
    and in silence, timestamps follow the wall clock. So they always rise, whoever speaks.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._origin = clock()
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._last = -FRAME_SAMPLES
        self._run: int | None = None
        self._offset = 0
        self._last_sent = self._origin - SILENCE_INTERVAL_S
        self._live_until = self._origin

    def put(self, payload: bytes, timestamp: int, run: int) -> None:
        """Leave a packet; the oldest goes if too many wait.

        Args:
            payload: an Opus packet.
            timestamp: 1/48000 s, of the microphone's clock, modulo 2**32.
            run: another number means another clock.
        """
        if len(self._waiting) >= MAX_WAITING:
            self._drop_oldest()
        self._waiting.append(_Waiting(payload, timestamp, run, self._clock()))
        self._arrived.set()

    def mute(self) -> None:
        """Let what waits go; silence follows at once."""
        self._waiting.clear()
        self._live_until = self._clock()
        self._arrived.set()

    async def next(self) -> SoundPacket:
        """Wait for the next packet: the microphone's, or silence when there is none."""
        while True:
            while self._waiting and self._clock() - self._waiting[0].arrived > MAX_AGE_S:
                self._drop_oldest()
            if self._waiting:
                return self._forward(self._waiting.popleft())
            self._arrived.clear()
            due = max(self._live_until, self._last_sent + SILENCE_INTERVAL_S)
            delay = due - self._clock()
            if delay <= 0:
                return self._silence()
            try:
                async with asyncio.timeout(delay):
                    await self._arrived.wait()
            except TimeoutError:
                continue

    def _drop_oldest(self) -> None:
        self._waiting.popleft()
        metrics.AUDIO_DROPPED.labels("capped").inc()

    def _forward(self, packet: _Waiting) -> SoundPacket:
        if packet.run != self._run or self._clock() >= self._live_until:
            self._run = packet.run
            self._offset = self._now() - packet.timestamp
        out = self._offset + packet.timestamp
        # The microphone's clock is modulo 2**32: take the value nearest to the last one sent.
        out += round((self._last - out) / (1 << 32)) * (1 << 32)
        if abs(out - self._now()) > SAMPLE_RATE:  # a jump, or the drift of hours
            self._offset += self._now() - out
            out = self._now()
        out = max(out, self._last + 1)
        metrics.AUDIO_PACKETS.labels("forwarded").inc()
        self._live_until = self._clock() + PAUSE_S
        return self._sent(packet.payload, out)

    def _silence(self) -> SoundPacket:
        metrics.AUDIO_PACKETS.labels("silence").inc()
        return self._sent(SILENCE, max(self._last + FRAME_SAMPLES, self._now()))

    def _sent(self, payload: bytes, timestamp: int) -> SoundPacket:
        self._last = timestamp
        self._last_sent = self._clock()
        return SoundPacket(payload, timestamp)

    def _now(self) -> int:
        return int((self._clock() - self._origin) * SAMPLE_RATE)


class Microphone:
    """One driver's microphone: hands its packets to every viewer's :class:`ViewerSound` while it is on."""

    def __init__(self) -> None:
        self._viewers: set[ViewerSound] = set()
        self._run = 0
        self._on = False

    @property
    def on(self) -> bool:
        """Whether packets are passed on."""
        return self._on

    @on.setter
    def on(self, on: bool) -> None:
        if self._on and not on:
            for viewer in self._viewers:
                viewer.mute()
        self._on = on

    def new_clock(self) -> None:
        """The next packets come from another connection, whose clock starts anywhere."""
        self._run += 1

    def put(self, payload: bytes, timestamp: int) -> None:
        """Pass an Opus packet (timestamp in 1/48000 s) on to all viewers, or let it go when off."""
        if not self._on:
            metrics.AUDIO_DROPPED.labels("muted").inc()
            return
        for viewer in self._viewers:
            viewer.put(payload, timestamp, self._run)

    def listen(self) -> ViewerSound:
        """A new viewer's sound; give it back with :meth:`leave`."""
        viewer = ViewerSound()
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: ViewerSound) -> None:
        """The viewer is gone."""
        self._viewers.discard(viewer)
