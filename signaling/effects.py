"""What the state machine wants done: messages to send, connections to close, events to count."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from signaling.protocol import Error, ErrorCode, Message, Text
from signaling.state import ConnectionId, Terminal, Worker

#: WebSocket close codes (RFC 6455, section 7.4.1).
CLOSE_NORMAL: Final = 1000
CLOSE_GOING_AWAY: Final = 1001
CLOSE_POLICY: Final = 1008


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message on a connection."""

    connection: ConnectionId
    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection once what was sent before has gone out. The state machine has forgotten it."""

    connection: ConnectionId
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Something worth counting happened: ``event`` names the counter, ``labels`` its labels in order."""

    event: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Something happened that an audit log keeps: who did what, where, behind whose face.

    Attributes:
        event: such as ``room.entered``.
        connection: on which it came; None when it came on none.
        terminal, name: who, as others saw them.
        token: id of the join token, if there was one.
        room: where.
        target: the target's id, which is a capability: never to be kept as it is.
        detail: a word more, such as the call's kind or the reason of a refusal.
    """

    event: str
    connection: ConnectionId | None = None
    terminal: str | None = None
    name: str | None = None
    token: str | None = None
    room: str | None = None
    target: str | None = None
    detail: str | None = None


Effect = Send | Close | Tally | Record


class Refusal(Exception):
    """A message that the present state does not allow; becomes an ``error`` to its sender alone."""

    def __init__(self, code: ErrorCode, message: str, session: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.session = session


class Outbox:
    """Collects effects in order until they are taken."""

    def __init__(self) -> None:
        self._effects: deque[Effect] = deque()

    def send(self, connection: ConnectionId, message: Message) -> None:
        self._effects.append(Send(connection, message))

    def to_terminal(self, terminal: Terminal, message: Message) -> None:
        """Send to a terminal. Without a connection only texts are kept for it; states are told at resume."""
        if terminal.connection is not None:
            self.send(terminal.connection, message)
        elif isinstance(message, Text):
            terminal.missed.append(message)

    def to_worker(self, worker: Worker, message: Message) -> None:
        """Send to a worker; dropped without a connection, since all is told anew when it comes back."""
        if worker.connection is not None:
            self.send(worker.connection, message)

    def error(
        self,
        connection: ConnectionId,
        code: ErrorCode,
        message: str,
        re: str | None = None,
        session: str | None = None,
    ) -> None:
        """Refuse something to a terminal, or tell it what went wrong."""
        self.tally("refusal", code.value)
        self.send(connection, Error(re=re, code=code, message=message, session=session))

    def close(self, connection: ConnectionId, code: int, reason: str) -> None:
        self._effects.append(Close(connection, code, reason))

    def tally(self, event: str, *labels: str) -> None:
        self._effects.append(Tally(event, labels))

    def record(
        self, event: str, terminal: Terminal, *, room: str | None = None, detail: str | None = None
    ) -> None:
        """Tell the audit log what a terminal did; the room is its own if none is given."""
        self._effects.append(
            Record(
                event,
                connection=terminal.connection,
                terminal=terminal.id,
                name=terminal.name,
                token=None if terminal.grant is None else terminal.grant.id,
                room=room or (None if terminal.room is None else terminal.room.name),
                target=terminal.target,
                detail=detail,
            )
        )

    def denied(self, connection: ConnectionId, name: str, why: str) -> None:
        """Tell the audit log that somebody was not let in."""
        self._effects.append(Record("access.denied", connection=connection, name=name, detail=why))

    def take(self) -> list[Effect]:
        """All effects since the last call, oldest first."""
        effects = list(self._effects)
        self._effects.clear()
        return effects
