"""Carries out what the state machine wants done: sends, closes, counts, logs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from signaling.connection import Connection
from signaling.effects import CLOSE_POLICY, Close, Effect, Record, Send, Tally
from signaling.log_context import log_context
from signaling.metrics import Metrics
from signaling.protocol import Error, ErrorCode, Message, Welcome, WorkerWelcome, encode
from signaling.state import ConnectionId, State

logger = logging.getLogger(__name__)

#: Tells an audit log what happened, with the address it came from; must not block.
OnRecord = Callable[[Record, str | None], None]


class Performer:
    """The open connections of this node, and what is done on them.

    Args:
        state: the state machine's, only read.
        metrics: counts.
        on_record: what an audit log keeps.

    Attributes:
        connections: by id.
    """

    def __init__(self, state: State, metrics: Metrics, on_record: OnRecord | None) -> None:
        self.connections: dict[ConnectionId, Connection] = {}
        self._state = state
        self._metrics = metrics
        self._on_record = on_record

    def perform(self, effects: list[Effect], own: bool) -> None:
        """Carry out effects in order.

        Args:
            effects: of one event; those for connections of other nodes are left to them.
            own: whether the event came in on this node, which then counts and logs it.
        """
        last: Message | None = None
        text = ""
        for effect in effects:
            match effect:
                case Send(number, message):
                    connection = self.connections.get(number)
                    if connection is None:
                        continue
                    if message is not last:  # a room's state goes to all its members
                        last, text = message, encode(message)
                    if isinstance(message, Welcome | WorkerWelcome):
                        self._welcomed(connection, message)
                    connection.send(text)
                case Close(number, code, reason):
                    if number in self.connections:
                        self.connections[number].close(code, reason)
                case Tally():
                    if own:
                        self._metrics.count(effect)
                case Record(connection=number):
                    if own:
                        self._record(effect, self.connections.get(number or 0))

    def error(
        self,
        connection: Connection,
        code: ErrorCode,
        sentence: str,
        re: str | None = None,
        session: str | None = None,
    ) -> None:
        """Refuse something that the state machine need not hear of."""
        self._metrics.count(Tally("refusal", (code.value,)))
        connection.send(encode(Error(re=re, code=code, message=sentence, session=session)))

    def hang_up(self, connection: Connection, last_word: Message, close_code: int = CLOSE_POLICY) -> None:
        """Send a last message and close."""
        connection.send(encode(last_word))
        connection.close(close_code, str(getattr(last_word, "code", "")))

    def _welcomed(self, connection: Connection, message: Welcome | WorkerWelcome) -> None:
        connection.registered = True
        if isinstance(message, WorkerWelcome):
            worker = self._state.worker_by_connection.get(connection.number)
            if worker is not None:
                logger.info("Media worker %s registered for %d drivers.", worker.id, worker.capacity)

    def _record(self, record: Record, connection: Connection | None) -> None:
        """One line for operators: what happened to which terminal, in which calls; never who it is."""
        terminal = self._state.terminals.get(record.terminal or "")
        calls = None if terminal is None else ",".join(call.id for call in terminal.calls())
        with log_context(terminal=record.terminal, call=calls):
            logger.info("%s%s", record.event, f" ({record.detail})" if record.detail else "")
        if self._on_record is not None:
            self._on_record(record, None if connection is None else connection.address)
