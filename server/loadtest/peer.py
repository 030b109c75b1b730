"""One synthetic peer of a load test: checks pictures, sound and texts that come of its partner."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Final

import av
import numpy as np

from server.bench.driver import SyntheticDriver, Watcher
from server.loadtest.pictures import Looked, PictureJudge, has_background
from server.loadtest.sound import ToneEar
from server.loadtest.texts import TextLedger
from server.media.colour import i420_to_rgb
from signaling import protocol

#: A picture of each stream is looked at so often (seconds).
LOOK_S: Final = 1.0
#: A gap between two pictures that people see as a freeze (seconds).
GAP_S: Final = 0.5
_SHOWN: Final = ("live", "calibrating")
#: What the service says of a picture and the picture itself come by different ways: only what it has said for
#: this long before and after a picture (seconds) is held against it.
_SETTLED_S: Final = 0.5


@dataclass
class Pictures:
    """Arrivals of one stream's pictures.

    Attributes:
        count: since the first generated one.
        first, last: when (monotonic seconds).
        gaps: times longer than half a second from one to the next.
        longest: of all times from one to the next, seconds.
    """

    count: int = 0
    first: float = 0.0
    last: float = 0.0
    gaps: int = 0
    longest: float = 0.0

    def add(self, at: float) -> None:
        """A picture arrived."""
        if self.count:
            self._pause(at - self.last)
        else:
            self.first = at
        self.count += 1
        self.last = at

    def end(self, at: float) -> None:
        """None came between the last one and now."""
        if self.count:
            self._pause(at - self.last)

    def _pause(self, seconds: float) -> None:
        self.gaps += seconds > GAP_S
        self.longest = max(self.longest, seconds)


@dataclass
class Figures:
    """What the service said every two seconds of the partner's picture (``media.stats``)."""

    fps: list[float] = field(default_factory=list)
    age_ms: list[float] = field(default_factory=list)
    frame_ms: list[float] = field(default_factory=list)


class LoadPeer(Watcher):
    """Watches one driver's traffic.

    Args:
        ear: knows the partner's tone.
        judge: knows the partner's target.
        threads: where pictures are looked at.
        clock: monotonic seconds.

    Attributes:
        driver: whose traffic it is; set by :class:`~server.loadtest.calls.LoadCall`.
        partner: the other peer of the call.
        requested, rung, accepted, in_call: when the request was sent, came in, was accepted, and when the
            call's state with both members came.
        states: how often the partner's picture went over to each state.
        ended: calls that ended before the test did, by reason.
        looked: what was seen, once :meth:`finish` was called.
        leaks: pictures, of all that were decoded, with the colour of the camera's background.
        unlooked: pictures that should have been looked at while another one still was.
    """

    driver: SyntheticDriver
    partner: LoadPeer

    def __init__(
        self,
        ear: ToneEar,
        judge: PictureJudge,
        threads: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ear = ear
        self.pictures = Pictures()
        self.texts = TextLedger()  # sent by this one
        self.figures = Figures()
        self.states: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.requested = self.rung = self.accepted = self.in_call = math.nan
        self.looked = Looked()
        self.unlooked = self.leaks = 0
        self.stopping = False
        self._judge = judge
        self._threads = threads
        self._clock = clock
        self._state = ""
        self._since = 0.0
        self._look_at = 0.0
        self._looking: Future[str] | None = None

    # ------------------------------------------------------------ what the driver tells

    def sent(self, message: protocol.Message, at: float) -> None:
        match message:
            case protocol.RequestRelay():
                self.requested = at
            case protocol.AcceptRelay():
                self.accepted = at

    def told(self, message: protocol.Message, at: float) -> None:
        if self.stopping:
            return
        match message:
            case protocol.RelayIncoming():
                self.rung = at
            case protocol.CallState(members=members) if len(members) > 1 and math.isnan(self.in_call):
                self.in_call = at
            case protocol.CallEnded(reason=reason):
                self.ended[f"call_ended {reason}"] += 1
            case protocol.MediaStatus(terminal=terminal, state=state) if terminal == self._of:
                if state != self._state:
                    self.states[state] += 1
                    # between live and calibrating nothing changes for who looks on
                    if (state in _SHOWN) != (self._state in _SHOWN):
                        self._since = at
                self._state = state
            case protocol.MediaStats(terminal=terminal) if terminal == self._of:
                self.figures.fps.append(message.fps)
                self.figures.age_ms.append(message.age_ms)
                self.figures.frame_ms.append(message.frame_ms)
            case protocol.Text(sender=sender, text=text) if sender == self._of:
                self.partner.texts.read(text, at)

    def frame(self, of: str, at: float) -> None:
        if of != self._of or self.stopping:
            return
        if self.pictures.count or self._state in _SHOWN:
            self.pictures.add(at)

    def sound(self, of: str, payload: bytes, timestamp: int, at: float) -> None:
        if of == self._of and not self.stopping:
            self.ear.take(payload, at)

    def looks(self, of: str) -> bool:
        return of == self._of

    def picture(self, of: str, picture: av.VideoFrame, at: float) -> None:
        if self.stopping:
            return
        self.leaks += has_background(picture)
        if at < self._look_at:
            return
        self._look_at = at + LOOK_S
        asyncio.get_running_loop().call_later(_SETTLED_S, self._submit, picture, at)

    def _submit(self, picture: av.VideoFrame, at: float) -> None:
        if self.stopping:
            return
        if self._looking is not None and not self._looking.done():
            self.unlooked += 1
            return
        generated = self._state in _SHOWN and at - self._since >= _SETTLED_S
        self._looking = self._threads.submit(self._look, picture, generated)

    # ------------------------------------------------------------ the end

    def finish(self) -> float:
        """Count no more; returns when that was."""
        self.stopping = True
        now = self._clock()
        self.pictures.end(now)
        if self._looking is not None:
            self._looking.exception()  # waits; what it raised is a fault of this program
            self._looking.result()
        self.looked = self._judge.finish()
        return now

    @property
    def _of(self) -> str:
        return self.partner.driver.terminal

    def _look(self, picture: av.VideoFrame, generated: bool) -> str:
        planes = np.asarray(picture.to_ndarray(format="yuv420p"), np.uint8)
        return self._judge.look(i420_to_rgb(planes), generated=generated)
