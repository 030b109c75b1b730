"""All media sessions of a worker: who may publish and see whom, and what ends when that stops to hold.

Fail closed: a terminal that signaling has not announced has no session; a viewer is served only while the
driver's ``viewers`` name it; and all that is ever sent comes from inference, whose pictures are safe in every
state. Nothing here hands a camera picture to anything but inference.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from server import metrics
from server.media.driver import Driver
from server.media.interfaces import Inference, Peer, PeerFactory
from server.media.pictures import ViewerPictures
from server.media.session import MAX_CANDIDATES, End, Session
from server.media.sound import ViewerSound
from signaling.admission import TokenBucket
from signaling.protocol import (
    DriverUpdate,
    ErrorCode,
    IceCandidate,
    IceServer,
    Message,
    SessionDescription,
    SessionSignal,
    WorkerError,
    WorkerSignal,
)

logger = logging.getLogger(__name__)

Key = tuple[str, str]  # terminal, session

#: Sessions of one terminal whose candidates may come before their offer.
MAX_EARLY: Final = 16


@dataclass(frozen=True)
class Limits:
    """Bounds of the media service.

    Attributes:
        connect_s: an offer must lead to a connection within this long.
        linger_s: an inference slot outlives its last session this long.
        early_s: candidates that come before their offer are kept this long.
        sessions: media sessions of one terminal at once.
        offers_per_second: offers of one terminal in the long run: answering one takes some milliseconds.
        offer_burst: offers of one terminal at once; joining a full room takes one for each member.
        fps: most pictures a second of one driver.
    """

    connect_s: float = 10.0
    linger_s: float = 10.0
    early_s: float = 10.0
    sessions: int = 40
    offers_per_second: float = 2.0
    offer_burst: int = 64
    fps: float = 30.0


@dataclass
class _Attached:
    """What a session uses and gives back at its end."""

    session: Session
    driver: Driver
    pictures: ViewerPictures
    sound: ViewerSound | None = None


@dataclass
class _Early:
    candidates: list[IceCandidate] = field(default_factory=list)
    expiry: asyncio.TimerHandle | None = None


class MediaService:
    """Keeps drivers and sessions as signaling says.

    Args:
        inference: makes the pictures.
        peers: makes peer connections.
        send: takes each message for signaling.
        limits: bounds.
    """

    def __init__(
        self,
        inference: Inference,
        peers: PeerFactory,
        send: Callable[[Message], None],
        limits: Limits | None = None,
    ) -> None:
        self.ice_servers: Sequence[IceServer] = []
        self.draining = False
        self.idle = asyncio.Event()  # set while there are no sessions
        self.idle.set()
        self._inference = inference
        self._peers = peers
        self._send = send
        self._limits = limits or Limits()
        self._drivers: dict[str, Driver] = {}
        self._offers: dict[str, TokenBucket] = {}
        self._sessions: dict[Key, _Attached] = {}
        self._early: dict[Key, _Early] = {}
        self._closing: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ how it stands

    @property
    def sessions(self) -> int:
        """Media sessions that exist now."""
        return len(self._sessions)

    @property
    def open_drivers(self) -> list[str]:
        """Terminals that hold an inference slot."""
        return [terminal for terminal, driver in self._drivers.items() if driver.open]

    @property
    def publishing(self) -> list[str]:
        """Terminals whose camera is connected."""
        return [terminal for terminal, driver in self._drivers.items() if driver.publisher is not None]

    @property
    def targets(self) -> set[str]:
        """Targets that drivers with an inference slot are shown behind."""
        return {d.update.target for d in self._drivers.values() if d.open and d.update.target is not None}

    def knows(self, terminal: str) -> bool:
        """Whether signaling has announced the terminal."""
        return terminal in self._drivers

    # ------------------------------------------------------------ what signaling says

    def keep_only(self, terminals: Iterable[str]) -> None:
        """Forget every terminal but these."""
        for terminal in set(self._drivers) - set(terminals):
            self.forget(terminal)

    def update(self, update: DriverUpdate) -> None:
        """Take a terminal's state; sessions of those who may not see it any more end."""
        driver = self._drivers.get(update.terminal)
        if driver is None:
            self._offers[update.terminal] = TokenBucket(
                self._limits.offers_per_second, self._limits.offer_burst, time.monotonic()
            )
            self._drivers[update.terminal] = Driver(
                update, self._inference, self._limits.linger_s, self._limits.fps, self._count_slots
            )
            return
        driver.change(update)
        for attached in list(self._sessions.values()):
            session = attached.session
            views = attached.driver is driver and session.channel == "subscribe"
            if views and not driver.may_be_seen_by(session.terminal):
                session.end(End.REFUSED)

    def picture_ready(self, terminal: str) -> None:
        """There is a new picture of a terminal."""
        driver = self._drivers.get(terminal)
        if driver is not None:
            driver.feed.wake()

    def recalibrate(self, terminal: str) -> None:
        """Take the driver's neutral pose anew."""
        driver = self._drivers.get(terminal)
        if driver is not None and driver.open:
            self._inference.recalibrate(terminal)

    def react(self, terminal: str, template: str) -> None:
        """Play an expression template over what the driver's target does."""
        driver = self._drivers.get(terminal)
        if driver is not None and driver.open:
            self._inference.react(terminal, template)

    def put_away(self, target: str) -> None:
        """A target is there no longer: nobody is shown behind it any more."""
        for terminal, driver in self._drivers.items():
            if driver.open and driver.update.target == target:
                self._inference.set_target(terminal, None)
                sentence = "The face you chose has been deleted or has expired; choose another."
                self._send(WorkerError(terminal=terminal, code=ErrorCode.TARGET_UNKNOWN, message=sentence))

    def show_again(self, target: str) -> None:
        """A target that could not be loaded can be now."""
        for terminal, driver in self._drivers.items():
            if driver.open and driver.update.target == target:
                self._inference.set_target(terminal, None)
                self._inference.set_target(terminal, target)

    def forget(self, terminal: str) -> None:
        """The terminal is gone: end what it has and what shows it, and give its slot back."""
        for attached in list(self._sessions.values()):
            if terminal in (attached.session.terminal, attached.session.subject):
                attached.session.end(End.ASKED)
        for key in [key for key in self._early if key[0] == terminal]:
            self._take_early(key)
        driver = self._drivers.pop(terminal, None)
        if driver is not None:
            del self._offers[terminal]
            driver.release()

    def signal(self, message: SessionSignal) -> None:
        """Take a terminal's offer or candidate."""
        key = (message.terminal, message.session)
        attached = self._sessions.get(key)
        if message.candidate is not None:
            if attached is not None:
                attached.session.candidate(message.candidate)
            else:
                self._keep_early(key, message.candidate)
        if message.description is not None:
            if attached is not None:
                self._refuse(message, ErrorCode.OUT_OF_ORDER, "A media session is negotiated once.")
            elif message.description.type != "offer":
                self._refuse(message, ErrorCode.OUT_OF_ORDER, "The terminal offers, the worker answers.")
            else:
                self._open(message, message.description.sdp)

    def end_session(self, terminal: str, session: str) -> None:
        """The terminal or signaling ends a session."""
        key = (terminal, session)
        self._take_early(key)
        attached = self._sessions.get(key)
        if attached is not None:
            attached.session.end(End.ASKED)

    async def close(self) -> None:
        """End everything and wait until it is closed."""
        for attached in list(self._sessions.values()):
            attached.session.end(End.STOPPED)
        for terminal in list(self._drivers):
            self.forget(terminal)
        if self._closing:
            await asyncio.wait(self._closing)

    # ------------------------------------------------------------ opening

    def _open(self, message: SessionSignal, offer: str) -> None:
        subject = message.terminal if message.channel == "publish" else message.peer
        driver = self._drivers.get(subject or "")
        if driver is None or subject is None or message.terminal not in self._drivers:
            self._refuse(message, ErrorCode.PEER_UNKNOWN, "This terminal is not served here.")
            return
        if message.channel == "subscribe" and not driver.may_be_seen_by(message.terminal):
            self._refuse(message, ErrorCode.UNAUTHORISED, "You are in no call with this terminal.")
            return
        if not self._offers[message.terminal].take(time.monotonic()):
            self._refuse(message, ErrorCode.RATE_LIMITED, "Too many offers; wait a moment.")
            return
        if self.draining and not driver.open:
            self._refuse(message, ErrorCode.WORKER_BUSY, "The media worker is about to stop; try again.")
            return
        if sum(1 for terminal, _ in self._sessions if terminal == message.terminal) >= self._limits.sessions:
            self._refuse(message, ErrorCode.RATE_LIMITED, "Too many media sessions at once.")
            return
        session = Session(
            message.terminal,
            message.session,
            message.channel,
            subject,
            on_answer=self._answered,
            on_connected=self._connected,
            on_error=self._failed,
            on_end=self._ended,
        )
        try:
            driver.attach(session)
        except Exception as error:  # a refusal is inference's to phrase; see CapacityExceeded
            logger.info("No inference slot for a driver: %s", error)
            self._refuse(message, ErrorCode.WORKER_BUSY, "The media worker is busy; try again in a while.")
            return
        self._replace(session)
        viewer = driver.feed.watch(lambda: driver.fps_for(message.terminal))
        attached = _Attached(session, driver, viewer)
        self._sessions[message.terminal, message.session] = attached
        self.idle.clear()
        session.start(self._peer(attached), offer, self._limits.connect_s)
        for candidate in self._take_early((message.terminal, message.session)):
            session.candidate(candidate)

    def _peer(self, attached: _Attached) -> Peer:
        session, driver = attached.session, attached.driver
        if session.channel == "publish":
            return self._peers.create(
                ice_servers=self.ice_servers,
                on_state=session.state_changed,
                pictures=attached.pictures,
                on_picture=lambda picture: driver.picture(session, picture),
                on_sound=lambda payload, timestamp: driver.sound(session, payload, timestamp),
            )
        attached.sound = driver.microphone.listen()
        return self._peers.create(
            ice_servers=self.ice_servers,
            on_state=session.state_changed,
            pictures=attached.pictures,
            sound=attached.sound,
        )

    def _replace(self, session: Session) -> None:
        """End former sessions for the same purpose, but not a camera that works until the new one does."""
        for attached in list(self._sessions.values()):
            former = attached.session
            same = (former.terminal, former.channel, former.subject) == (
                session.terminal,
                session.channel,
                session.subject,
            )
            if same and former is not attached.driver.publisher:
                former.end(End.REPLACED)

    # ------------------------------------------------------------ what sessions say

    def _answered(self, session: Session, sdp: str) -> None:
        self._send(
            WorkerSignal(
                terminal=session.terminal,
                session=session.name,
                channel=session.channel,
                peer=session.subject if session.channel == "subscribe" else None,
                description=SessionDescription(type="answer", sdp=sdp),
            )
        )

    def _connected(self, session: Session) -> None:
        driver = self._drivers.get(session.subject)
        if driver is None or session.channel != "publish":
            return
        former = driver.publish(session)
        if former is not None:
            former.end(End.REPLACED)

    def _failed(self, session: Session, code: ErrorCode, sentence: str) -> None:
        self._send(WorkerError(terminal=session.terminal, session=session.name, code=code, message=sentence))

    def _ended(self, session: Session, reason: End) -> None:
        attached = self._sessions.pop((session.terminal, session.name), None)
        if attached is None:
            return
        driver = attached.driver
        driver.feed.leave(attached.pictures)
        if attached.sound is not None:
            driver.microphone.leave(attached.sound)
        driver.detach(session)
        if not self._sessions:
            self.idle.set()
        task = asyncio.create_task(session.closed(), name="closing session")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _refuse(self, message: SessionSignal, code: ErrorCode, sentence: str) -> None:
        metrics.SESSION_ENDS.labels(message.channel, "refused").inc()
        self._send(
            WorkerError(terminal=message.terminal, session=message.session, code=code, message=sentence)
        )

    # ------------------------------------------------------------ candidates before their offer

    def _keep_early(self, key: Key, candidate: IceCandidate) -> None:
        if key[0] not in self._drivers:
            return
        early = self._early.get(key)
        if early is None:
            if sum(1 for terminal, _ in self._early if terminal == key[0]) >= MAX_EARLY:
                return
            early = self._early[key] = _Early()
            early.expiry = asyncio.get_running_loop().call_later(
                self._limits.early_s, self._early.pop, key, None
            )
        if len(early.candidates) < MAX_CANDIDATES:
            early.candidates.append(candidate)

    def _take_early(self, key: Key) -> list[IceCandidate]:
        early = self._early.pop(key, None)
        if early is None:
            return []
        if early.expiry is not None:
            early.expiry.cancel()
        return early.candidates

    def _count_slots(self) -> None:
        metrics.DRIVERS.set(len(self.open_drivers))
