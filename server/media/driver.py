"""What the worker holds of one terminal: who may see it, its inference slot, its camera and microphone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import av

from server import metrics
from server.media.interfaces import Inference
from server.media.pace import Pace
from server.media.pictures import MAX_FPS, OWN_FPS, Feed
from server.media.session import Session
from server.media.sound import Microphone
from signaling.protocol import DriverUpdate


class Driver:
    """One terminal as a driver. It holds an inference slot only while a session needs its picture.

    Args:
        update: how the terminal stands.
        inference: makes its pictures.
        linger: seconds that the slot is kept after the last session, for one that reconnects.
        fps: most pictures a second that go to inference and come back.
        on_slot: called when a slot was taken or given back.
    """

    def __init__(
        self,
        update: DriverUpdate,
        inference: Inference,
        linger: float,
        fps: float,
        on_slot: Callable[[], None],
    ) -> None:
        self.update = update
        self.publisher: Session | None = None
        self.microphone = Microphone()
        self.microphone.on = update.microphone
        self.feed = Feed(lambda: inference.latest(update.terminal), fps)
        self._pace = Pace(fps)
        self._terminal = update.terminal
        self._inference = inference
        self._linger = linger
        self._on_slot = on_slot
        self._sessions: set[Session] = set()
        self._open = False
        self._releasing: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """Whether it holds an inference slot."""
        return self._open

    def may_be_seen_by(self, terminal: str) -> bool:
        """Whether the terminal is one of its viewers now."""
        return terminal in self.update.viewers

    def fps_for(self, terminal: str) -> float:
        """Most pictures a second for a viewer: fewer for the driver itself while others look on."""
        mine = terminal == self._terminal and any(viewer != terminal for viewer in self.update.viewers)
        return OWN_FPS if mine else MAX_FPS

    def change(self, update: DriverUpdate) -> None:
        """Take the terminal's new state."""
        before, self.update = self.update, update
        self.microphone.on = update.microphone
        if self._open:
            if update.target != before.target:
                self._inference.set_target(self._terminal, update.target)
            if update.camera != before.camera:
                self._inference.set_camera(self._terminal, update.camera)

    def attach(self, session: Session) -> None:
        """A session needs its picture: take an inference slot, if it has none.

        Raises:
            CapacityExceeded: there is none (see :class:`server.inference.client.InferenceClient`).
        """
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None
        if not self._open:
            self._inference.open(self._terminal)
            self._open = True
            self._inference.set_target(self._terminal, self.update.target)
            self._inference.set_camera(self._terminal, self.update.camera)
            self._on_slot()
        self._sessions.add(session)

    def detach(self, session: Session) -> None:
        """The session has ended; after the last one the slot is given back, a little later."""
        self._sessions.discard(session)
        if self.publisher is session:
            self.publisher = None
        if not self._sessions and self._open and self._releasing is None:
            self._releasing = asyncio.get_running_loop().call_later(self._linger, self.release)

    def release(self) -> None:
        """Give the inference slot back now."""
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None
        if self._open:
            self._open = False
            self._inference.release(self._terminal)
            self._on_slot()

    def publish(self, session: Session) -> Session | None:
        """Take camera and microphone from this session from now on; returns the one it replaces."""
        before = self.publisher
        self.publisher = session
        self.microphone.new_clock()
        if before is not None and before is not session:
            return before
        return None

    def picture(self, session: Session, picture: av.VideoFrame) -> None:
        """Give a camera picture to inference, if it is this session's turn and the camera is on."""
        if session is not self.publisher or not self._open:
            metrics.FRAMES_DROPPED.labels("submit", "not_publishing").inc()
        elif not self.update.camera:
            metrics.FRAMES_DROPPED.labels("submit", "camera_off").inc()
        elif self._pace.delay:
            metrics.FRAMES_DROPPED.labels("submit", "too_fast").inc()
        else:
            self._pace.step()
            metrics.FRAMES.labels("submitted").inc()
            self._inference.submit(self._terminal, picture, time.monotonic())

    def sound(self, session: Session, payload: bytes, timestamp: int) -> None:
        """Pass a microphone packet on, if it is this session's turn."""
        if session is self.publisher:
            self.microphone.put(payload, timestamp)
