"""The state machine of signaling as a whole: messages, lost connections and passing time in, effects out.

It does no I/O and has no clock: whoever runs it names each connection by a number, says what came on it
and when (seconds of any clock that never goes back), and carries out the effects in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from signaling.announcer import Announcer
from signaling.calls import Calls
from signaling.effects import CLOSE_GOING_AWAY, Effect, Outbox, Refusal
from signaling.grants import Admission
from signaling.media import Media
from signaling.placement import Placement
from signaling.protocol import (
    AcceptRelay,
    Bye,
    CallEnded,
    CancelRelay,
    CloseMedia,
    CreateRoom,
    DeclineRelay,
    ErrorCode,
    Hello,
    IceServer,
    JoinRoom,
    LeaveCall,
    LeaveRoom,
    MediaSignal,
    Ping,
    Pong,
    React,
    Recalibrate,
    RequestRelay,
    SelectTarget,
    SendText,
    SetMedia,
    TerminalRequest,
    WorkerError,
    WorkerHello,
    WorkerLoad,
    WorkerRefused,
    WorkerSignal,
    WorkerStats,
    WorkerStatus,
)
from signaling.relays import Relays
from signaling.rooms import Rooms
from signaling.state import ConnectionId, Limits, State, Terminal, TokenFactory
from signaling.terminals import Terminals
from signaling.texts import Texts
from signaling.turn import TurnCredentials
from signaling.workers import Workers


class Switchboard:
    """Takes events of terminals and workers and returns what is to be done.

    Args:
        limits: times and bounds.
        new_token: makes unguessable tokens.
        worker_secret: what workers must show; empty: none is taken.
        ice_servers: given to workers, and to terminals when ``turn`` is None.
        turn: makes each terminal's ICE servers.
        by_invitation: a terminal needs a :class:`~signaling.grants.Grant` to get in.
        epoch: seconds since the Unix epoch at ``now == 0``; dates texts.
    """

    def __init__(
        self,
        limits: Limits,
        new_token: TokenFactory,
        *,
        worker_secret: str = "",
        ice_servers: tuple[IceServer, ...] = (),
        turn: TurnCredentials | None = None,
        by_invitation: bool = False,
        epoch: float = 0.0,
    ) -> None:
        self.state = State(limits, new_token, epoch=epoch)
        self._outbox = Outbox()
        self._announcer = Announcer(self.state, self._outbox)
        self._workers = Workers(self.state, self._outbox, secret=worker_secret, ice_servers=ice_servers)
        self._placement = Placement(self.state, self._outbox, self._announcer, self._workers)
        self._media = Media(self._outbox, self._announcer, self._placement)
        self._calls = Calls(self.state, self._outbox, self._announcer, self._media, self._placement)
        self._relays = Relays(self.state, self._outbox, self._calls)
        self._rooms = Rooms(
            self.state, self._outbox, self._announcer, self._calls, self._relays, self._placement
        )
        self._terminals = Terminals(
            self.state,
            self._outbox,
            self._announcer,
            self._rooms,
            self._relays,
            self._media,
            self._placement,
            turn=turn or TurnCredentials(ice_servers),
            by_invitation=by_invitation,
        )
        self._handlers: dict[type, Callable[[Terminal, Any, float], None]] = {
            CreateRoom: lambda t, m, now: self._rooms.create(t, m.id, now),
            JoinRoom: lambda t, m, now: self._rooms.enter(t, m.room, m.id, now),
            LeaveRoom: lambda t, m, now: self._rooms.leave(t, "left", m.id),
            RequestRelay: self._relays.request,
            AcceptRelay: lambda t, m, now: self._relays.accept(t, m),
            DeclineRelay: lambda t, m, now: self._relays.decline(t, m),
            CancelRelay: lambda t, m, now: self._relays.cancel(t, m),
            LeaveCall: lambda t, m, now: self._leave_call(t, m),
            SelectTarget: lambda t, m, now: self._select_target(t, m),
            SetMedia: lambda t, m, now: self._set_media(t, m),
            Recalibrate: lambda t, m, now: self._media.recalibrate(t),
            React: lambda t, m, now: self._media.react(t, m),
            MediaSignal: lambda t, m, now: self._media.signal(t, m),
            CloseMedia: lambda t, m, now: self._media.close(t, m),
            SendText: Texts(self.state, self._outbox).send,
            Ping: lambda t, m, now: self._outbox.to_terminal(t, Pong(re=m.id)),
            Bye: lambda t, m, now: self._terminals.bye(t),
        }

    # ------------------------------------------------------------ terminals

    def receive(
        self, connection: ConnectionId, message: TerminalRequest, now: float, admission: Admission = None
    ) -> list[Effect]:
        """A message came on a terminal's connection; ``admission``: what its join token was found to be."""
        self._outbox.tally("message", str(getattr(message, "type", "")))
        try:
            terminal = self._terminals.heard(connection, now)
            if isinstance(message, Hello):
                self._terminals.hello(connection, terminal, message, now, admission)
            elif terminal is None:
                raise Refusal(ErrorCode.HELLO_EXPECTED, "Say hello first.")
            else:
                self._handlers[type(message)](terminal, message, now)
        except Refusal as refusal:
            self._outbox.error(connection, refusal.code, refusal.message, message.id, refusal.session)
        return self._effects()

    def refuse(
        self, connection: ConnectionId, code: ErrorCode, message: str, re: str | None, now: float
    ) -> list[Effect]:
        """Something came on a terminal's connection that is no message, or came too fast.

        It is a sign of life nevertheless.
        """
        self._terminals.heard(connection, now)
        self._outbox.error(connection, code, message, re)
        return self._effects()

    def heard(self, connection: ConnectionId, now: float) -> list[Effect]:
        """A terminal's connection gave a sign of life that is no message for the state machine."""
        self._terminals.heard(connection, now)
        return self._effects()

    def disconnected(self, connection: ConnectionId, now: float) -> list[Effect]:
        """A terminal's connection is lost; its place is kept for a while. Unknown connections are fine."""
        self._terminals.disconnected(connection, now)
        return self._effects()

    # ------------------------------------------------------------ workers

    def worker_receive(self, connection: ConnectionId, message: Any, now: float) -> list[Effect]:
        """A :data:`~signaling.protocol.WorkerMessage` came on a worker's connection."""
        worker = self.state.worker_by_connection.get(connection)
        if worker is not None:
            worker.last_heard = now
        match message:
            case WorkerHello() if worker is None:
                self._worker_hello(connection, message, now)
            case _ if worker is None:
                return self.worker_refuse(connection, ErrorCode.HELLO_EXPECTED, "Say hello first.")
            case WorkerLoad():
                self._workers.load(worker, message)
                if worker.draining:
                    self._placement.evacuate(worker, now)
            case WorkerSignal():
                self._media.worker_signal(worker, message)
            case WorkerStatus():
                self._media.worker_status(worker, message)
            case WorkerStats():
                self._media.worker_stats(worker, message)
            case WorkerError():
                self._media.worker_error(worker, message)
            case _:
                return self.worker_refuse(connection, ErrorCode.OUT_OF_ORDER, "You have said hello.")
        return self._effects()

    def worker_refuse(self, connection: ConnectionId, code: ErrorCode, message: str) -> list[Effect]:
        """Something came on a worker's connection that cannot be taken; the connection goes on."""
        self._outbox.tally("worker_refusal", code.value)
        self._outbox.send(connection, WorkerRefused(code=code, message=message))
        return self._effects()

    def worker_disconnected(self, connection: ConnectionId, now: float) -> list[Effect]:
        """A worker's connection is lost; it may come back within the grace time."""
        self._workers.disconnected(connection, now)
        return self._effects()

    # ------------------------------------------------------------ time

    def tick(self, now: float) -> list[Effect]:
        """Time has passed: find the silent, give up the lost, close what rang too long."""
        self._terminals.tick(now)
        self._relays.expire(now)
        for worker in self._workers.expire(now):
            self._placement.lost(list(worker.drivers.values()))
        self._placement.end_handovers(now)
        return self._effects()

    def shut_down(self) -> list[Effect]:
        """The service ends: everybody is told and every connection closed. Nothing may follow."""
        for terminal in self.state.terminals.values():
            for call in terminal.calls():
                self._outbox.to_terminal(terminal, CallEnded(call=call.id, reason="shutting_down"))
        for connection in self.state.by_connection:
            self._outbox.error(connection, ErrorCode.SHUTTING_DOWN, "The service is shutting down.")
            self._outbox.close(connection, CLOSE_GOING_AWAY, "shutting_down")
        for connection in self.state.worker_by_connection:
            self._outbox.close(connection, CLOSE_GOING_AWAY, "shutting_down")
        return self._outbox.take()

    # ------------------------------------------------------------ small messages

    def _leave_call(self, terminal: Terminal, message: LeaveCall) -> None:
        call = next((call for call in terminal.calls() if call.id == message.call), None)
        if call is None:
            raise Refusal(ErrorCode.CALL_UNKNOWN, "You are in no such call.")
        self._relays.hung_up(terminal, call)
        self._calls.leave(call, terminal, "left", message.id)
        self._relays.settle(call.room)

    def _select_target(self, terminal: Terminal, message: SelectTarget) -> None:
        if terminal.target != message.target:
            terminal.target = message.target
            self._outbox.record("target.selected", terminal)
        self._announcer.driver(terminal)

    def _set_media(self, terminal: Terminal, message: SetMedia) -> None:
        if (terminal.camera, terminal.microphone) != (message.camera, message.microphone):
            terminal.camera = message.camera
            terminal.microphone = message.microphone
            self._announcer.appearance(terminal)

    # ------------------------------------------------------------ details

    def _worker_hello(self, connection: ConnectionId, message: WorkerHello, now: float) -> None:
        registered = self._workers.hello(connection, message, now)
        if registered is None:
            return
        worker, orphans = registered
        self._placement.lost(orphans)
        self._workers.welcome(worker, connection, now)
        for terminal in worker.drivers.values():
            terminal.told = None
            self._announcer.driver(terminal)
        self._placement.worker_came()

    def _effects(self) -> list[Effect]:
        self._announcer.flush()
        return self._outbox.take()
