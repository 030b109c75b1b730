"""What is shown of one driver now: a generated picture, or a still and why. Decides, draws nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from server.inference.messages import PictureNote
from signaling.protocol import DriverState

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Patience:
    """How long what is shown, seconds.

    Attributes:
        late_s: a generated picture whose camera frame is older than this is not shown.
        hold_s: when the face is lost, the last generated picture stays this long ...
        fade_s: ... and gives way to the still over this long.
        switch_s: the former target is shown at most this long after another was chosen.
        start_s: so long may the first picture take before it counts as late.
    """

    late_s: float = 0.5
    hold_s: float = 0.25
    fade_s: float = 0.2
    switch_s: float = 1.5
    start_s: float = 1.5


@dataclass(frozen=True)
class Generated:
    """A generated picture.

    Attributes:
        i420: ``[size * 3 // 2, size]``.
        time: when its camera frame was decoded, monotonic seconds.
        state: ``live`` or ``calibrating``.
        sequence: rises with each.
    """

    i420: Bytes
    time: float
    state: DriverState
    sequence: int


@dataclass(frozen=True)
class Decision:
    """What to show.

    Attributes:
        state: what the peer and the driver are told.
        source: the generated picture; the still; or the generated picture fading into the still.
        share: of the still while fading, 0..1.
        target: whose still.
    """

    state: DriverState
    source: Literal["generated", "still", "fade"]
    target: str | None = None
    share: float = 1.0


@dataclass
class _Lost:
    since: float
    state: DriverState  # what was shown before


@dataclass
class DriverView:
    """One driver as the media process sees it: what was asked for, what has come, what may be shown.

    Every change of target gets an ``epoch``, every switching of the camera a new ``since``. An answer counts
    only if it names both: the present ``since``, and the present epoch or, until that has its first answer,
    the former one. So nothing made for a former target, before the camera was off, or by a former process
    is shown later.
    """

    patience: Patience
    now: float
    epoch: int
    since: int
    target: str | None = None
    camera_on: bool = True
    picture: Generated | None = None
    answer: PictureNote | None = None
    recent: deque[tuple[float, PictureNote]] = field(default_factory=lambda: deque(maxlen=240))
    dropped: int = 0  # camera frames that were overtaken by newer ones
    _asked: float = 0.0  # when the present epoch began
    _restarting: bool = False
    _former: tuple[int, str | None] | None = None
    _submitted: float | None = None
    _waiting: float | None = None  # since when a camera frame waits for an answer
    _lost: _Lost | None = None
    _in_time: int = 0  # consecutive pictures that came in time
    _slow: DriverState = "late"  # what it is called when they do not

    def __post_init__(self) -> None:
        self._asked = self.now

    @property
    def targets(self) -> set[str]:
        """Targets whose stills may be shown."""
        former = None if self._former is None else self._former[1]
        return {target for target in (self.target, former) if target is not None}

    # ------------------------------------------------------------ what was asked for

    def change_target(self, target: str | None, epoch: int, now: float) -> None:
        """Another target; the former one goes on until this one has its first answer."""
        self._former = (self.epoch, self.target) if target is not None and self.target is not None else None
        self.target, self.epoch, self._asked = target, epoch, now
        if target is None:
            self._forget()

    def change_camera(self, on: bool, since: int, now: float) -> None:
        """The camera goes on or off."""
        self.camera_on, self.since, self._asked = on, since, now
        self._submitted = None
        self._forget()

    def submitted(self, time: float) -> None:
        """A camera frame decoded at this time was handed over."""
        if self._waiting is None:
            self._waiting = time
        self._submitted = time

    def process_gone(self, epoch: int, since: int) -> None:
        """Whatever the former process made counts no more."""
        self.epoch, self.since = epoch, since
        self._former = None
        self._restarting = True
        self._forget()

    def process_back(self, now: float) -> None:
        """A process takes frames again."""
        self._asked = now

    # ------------------------------------------------------------ what has come

    def counts(self, note: PictureNote) -> bool:
        """Whether an answer may be shown."""
        if note.since != self.since or not self.camera_on:
            return False
        return note.epoch == self.epoch or (self._former is not None and note.epoch == self._former[0])

    def take(self, note: PictureNote, picture: Generated | None, now: float) -> None:
        """Take an answer that counts, with its picture if it has one."""
        if note.epoch == self.epoch:
            if self._former is not None:  # the first of the new target: the former one is over
                self._former = None
                self.picture = None
            self._restarting = False
        last, self.answer = self.answer, note
        handed_over = self._submitted
        self._waiting = handed_over if handed_over is not None and handed_over > note.time else None
        self.recent.append((now, note))
        if picture is None:
            if note.outcome == "no_face" and self._lost is None and self.picture is not None:
                self._lost = _Lost(now, self.picture.state)
            return
        self._judge_pace(note, last, now)
        self._lost = None
        self.picture = picture

    def _judge_pace(self, note: PictureNote, last: PictureNote | None, now: float) -> None:
        """Whether pictures come fast enough for one to be replaced before it is too old to be shown.

        If not, the still stays until two in a row did: better a steady still than one that comes and goes.
        """
        age, late_s = now - note.time, self.patience.late_s
        was_late = self._in_time == 0 and self.picture is not None
        if age >= late_s:
            self._in_time = 0
        elif self.picture is None:
            self._in_time = 2
        elif now - self.picture.time >= late_s:
            self._in_time = 1
        else:
            self._in_time += 1
        if age > late_s / 2 or was_late:
            self._slow = "late"
        elif last is not None and last.outcome == "no_face":
            self._slow = "no_face"
        else:
            self._slow = "no_video"

    # ------------------------------------------------------------ what to show

    def decide(self, now: float, *, serving: bool, missing: bool, still_ready: bool) -> Decision:
        """What to show now.

        Args:
            now: monotonic seconds.
            serving: whether an inference process takes frames.
            missing: whether the target's picture could not be loaded.
            still_ready: whether the target's own still can be shown.
        """
        if self._former is not None and (missing or now - self._asked > self.patience.switch_s):
            self._former = None
            self.picture = self.answer = self._lost = None
        state = self._state(now, serving, missing)
        target = self.target
        if self._former is not None and not still_ready:
            target = self._former[1]
        if state in ("live", "calibrating") and self._showable(now):
            return Decision(state, "generated")
        if state == "no_face" and self._lost is not None and self._showable(now):
            held = now - self._lost.since - self.patience.hold_s
            if held < 0:
                return Decision(self._lost.state, "generated")
            if held < self.patience.fade_s:
                return Decision(state, "fade", target, held / self.patience.fade_s)
        if self._former is not None and target == self.target:
            # who has seen the new target does not see the former again, however late its last pictures are
            self._former = self.picture = None
        return Decision(state, "still", target)

    def _state(self, now: float, serving: bool, missing: bool) -> DriverState:
        if self.target is None:
            return "no_target"
        if not self.camera_on:
            return "camera_off"
        if missing:
            return "failed"
        if not serving or (self._restarting and now - self._asked < self.patience.start_s):
            return "restarting"
        answer, handed_over, late_s = self.answer, self._submitted, self.patience.late_s
        if handed_over is None:
            return "no_video" if now - self._asked > self.patience.start_s else "calibrating"
        if self._waiting is None:
            if now - handed_over > late_s:
                return "no_video"
        elif now - self._waiting > (late_s if answer is not None else self.patience.start_s):
            return "late"
        if answer is None:
            return "calibrating"
        if not answer.generated or self._showable(now):
            return answer.outcome
        return "late" if self._waiting is not None and now - self._waiting > late_s / 2 else self._slow

    def _showable(self, now: float) -> bool:
        """Whether the generated picture may be shown."""
        picture = self.picture
        return picture is not None and self._in_time >= 2 and now - picture.time < self.patience.late_s

    def _forget(self) -> None:
        self.picture = self.answer = self._lost = self._waiting = None
        self._in_time = 0
