"""Routes media sessions: passes connection information between terminals and their workers.

An offer or candidate goes only to those it is meant for (patent [0043]): the terminal's worker, or in a
direct call the one peer.
"""

from __future__ import annotations

from signaling.announcer import Announcer
from signaling.effects import Outbox, Refusal
from signaling.placement import Placement
from signaling.protocol import (
    CloseMedia,
    DriverReact,
    DriverRecalibrate,
    Error,
    ErrorCode,
    MediaReply,
    MediaSignal,
    MediaStats,
    MediaStatus,
    React,
    SessionClose,
    SessionSignal,
    WorkerError,
    WorkerGone,
    WorkerSignal,
    WorkerStats,
    WorkerStatus,
)
from signaling.state import Call, MediaSession, Terminal, Worker


def _reenacted_peers(terminal: Terminal) -> list[Terminal]:
    call = terminal.call("video", "reenacted")
    return [] if call is None else [other for other in call.members.values() if other is not terminal]


class Media:
    """The sessions between terminals and their workers, or between the two of a direct call."""

    def __init__(self, outbox: Outbox, announcer: Announcer, placement: Placement) -> None:
        self._outbox = outbox
        self._announcer = announcer
        self._placement = placement

    # ------------------------------------------------------------ from terminals

    def signal(self, terminal: Terminal, message: MediaSignal) -> None:
        """An offer or candidate of a terminal.

        Raises:
            Refusal: the peer is not in the call that the channel needs, the session was never offered or
                offered already, or no worker can take it.
        """
        if message.channel == "direct":
            self._signal_direct(terminal, message)
            return
        if message.candidate is not None:
            known = terminal.sessions.get(message.session)
            if known != MediaSession(message.channel, message.peer):
                raise Refusal(
                    ErrorCode.OUT_OF_ORDER, "There is no such media session (any more).", message.session
                )
        else:
            self._open(terminal, message)
        worker = terminal.worker
        if worker is None or worker.connection is None:
            raise Refusal(
                ErrorCode.WORKER_UNAVAILABLE, "The media worker is out of reach; try again.", message.session
            )
        self._outbox.to_worker(
            worker,
            SessionSignal(
                terminal=terminal.id,
                session=message.session,
                channel="publish" if message.channel == "publish" else "subscribe",
                peer=message.peer,
                description=message.description,
                candidate=message.candidate,
            ),
        )

    def _signal_direct(self, terminal: Terminal, message: MediaSignal) -> None:
        call = terminal.call("video", "direct")
        peer = None if call is None or message.peer is None else call.members.get(message.peer)
        if peer is None or peer is terminal:
            raise Refusal(
                ErrorCode.PEER_UNKNOWN, "You are in no direct call with this terminal.", message.session
            )
        reply = MediaReply(
            channel="direct",
            session=message.session,
            peer=terminal.id,
            description=message.description,
            candidate=message.candidate,
        )
        self._outbox.to_terminal(peer, reply)

    def _open(self, terminal: Terminal, message: MediaSignal) -> None:
        """Take a new session in; it replaces the terminal's former one for the same picture."""
        if message.session in terminal.sessions:
            raise Refusal(
                ErrorCode.OUT_OF_ORDER,
                "A media session is negotiated once; offer a new one.",
                message.session,
            )
        peer = None
        if message.channel == "subscribe":
            peer = next((p for p in _reenacted_peers(terminal) if p.id == message.peer), None)
            if peer is None:
                raise Refusal(
                    ErrorCode.PEER_UNKNOWN,
                    "You are in no reenacted call with this terminal.",
                    message.session,
                )
        try:
            self._placement.place(terminal)
            if peer is not None:
                self._placement.place(peer)
        except Refusal as refusal:
            refusal.session = message.session
            raise
        session = MediaSession("publish" if peer is None else "subscribe", message.peer)
        for former, known in list(terminal.sessions.items()):
            if known == session:
                self._end(terminal, former)
        terminal.sessions[message.session] = session

    def close(self, terminal: Terminal, message: CloseMedia) -> None:
        """End a session. One that has ended already, or goes to a direct peer, needs nothing done."""
        if message.session in terminal.sessions:
            self._end(terminal, message.session)
            self._placement.release_if_idle(terminal)

    def recalibrate(self, terminal: Terminal) -> None:
        """Pass the wish on.

        Raises:
            Refusal: no worker serves the terminal.
        """
        if terminal.worker is None:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "No picture is generated for you at the moment.")
        self._outbox.to_worker(terminal.worker, DriverRecalibrate(terminal=terminal.id))

    def react(self, terminal: Terminal, message: React) -> None:
        """Pass the wish on.

        Raises:
            Refusal: no worker serves the terminal.
        """
        if terminal.worker is None:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "No picture is generated for you at the moment.")
        self._outbox.to_worker(terminal.worker, DriverReact(terminal=terminal.id, template=message.template))

    # ------------------------------------------------------------ from workers

    def worker_signal(self, worker: Worker, message: WorkerSignal) -> None:
        """Connection information of the worker; dropped for a session that is no longer the terminal's."""
        terminal = worker.drivers.get(message.terminal)
        if terminal is None:
            return
        if terminal.sessions.get(message.session) != MediaSession(message.channel, message.peer):
            return
        reply = MediaReply(
            channel=message.channel,
            session=message.session,
            peer=message.peer,
            description=message.description,
            candidate=message.candidate,
        )
        self._outbox.to_terminal(terminal, reply)

    def worker_status(self, worker: Worker, message: WorkerStatus) -> None:
        terminal = worker.drivers.get(message.terminal)
        if terminal is None:
            return
        terminal.status = MediaStatus(terminal=terminal.id, state=message.state, detail=message.detail)
        for other in [terminal, *_reenacted_peers(terminal)]:
            self._outbox.to_terminal(other, terminal.status)

    def worker_stats(self, worker: Worker, message: WorkerStats) -> None:
        terminal = worker.drivers.get(message.terminal)
        if terminal is None:
            return
        stats = MediaStats(**message.model_dump(exclude={"type", "v"}))
        for other in [terminal, *_reenacted_peers(terminal)]:
            self._outbox.to_terminal(other, stats)

    def worker_error(self, worker: Worker, message: WorkerError) -> None:
        terminal = worker.drivers.get(message.terminal)
        if terminal is None:
            return
        if message.session is not None and message.session not in terminal.sessions:
            return
        self._outbox.tally("refusal", message.code.value)
        self._outbox.to_terminal(
            terminal, Error(code=message.code, message=message.message, session=message.session)
        )

    # ------------------------------------------------------------ as rooms, calls and workers change

    def joined_call(self, call: Call, newcomers: list[Terminal]) -> None:
        """Tell newcomers what the others' pictures show now, and the others the newcomers'."""
        if call.kind != "video" or call.mode != "reenacted":
            return
        for terminal in call.members.values():
            self._announcer.driver(terminal)
            for other in call.members.values():
                if other is terminal or (terminal not in newcomers and other not in newcomers):
                    continue
                if other.status is not None:
                    self._outbox.to_terminal(terminal, other.status)

    def left_call(self, call: Call, leaver: Terminal) -> None:
        """End the sessions between a terminal that left a call and those who were in it with it."""
        if call.kind != "video" or call.mode != "reenacted":
            return
        for other in call.members.values():
            for viewer, seen in ((leaver, other), (other, leaver)):
                for session, known in list(viewer.sessions.items()):
                    if known == MediaSession("subscribe", seen.id):
                        self._end(viewer, session)
            self._announcer.driver(other)
        self._announcer.driver(leaver)

    def resumed(self, terminal: Terminal) -> None:
        """What a terminal that comes back must know of its media."""
        if terminal.media_lost:
            terminal.media_lost = False
            self._outbox.to_terminal(terminal, WorkerGone())
        for other in [terminal, *_reenacted_peers(terminal)]:
            if other.status is not None:
                self._outbox.to_terminal(terminal, other.status)

    # ------------------------------------------------------------ details

    def _end(self, terminal: Terminal, session: str) -> None:
        del terminal.sessions[session]
        worker = terminal.worker
        if worker is None:
            return
        close = SessionClose(terminal=terminal.id, session=session)
        if worker.connection is None:
            worker.missed.append(close)
        else:
            self._outbox.to_worker(worker, close)
