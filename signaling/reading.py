"""Reads WebSockets of terminals and workers: what comes in becomes events, or is refused at once."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from aiohttp import WSMessage, WSMsgType
from pydantic import TypeAdapter

from signaling.admission import TokenBucket, same_secret
from signaling.config import SignalingConfig
from signaling.connection import Connection
from signaling.effects import Tally
from signaling.gate import Gate
from signaling.grants import Grant
from signaling.metrics import Metrics
from signaling.performing import Performer
from signaling.protocol import (
    TERMINAL_MESSAGE,
    WORKER_MESSAGE,
    Error,
    ErrorCode,
    Hello,
    Ping,
    Pong,
    ProtocolError,
    WorkerHello,
    WorkerRefused,
    decode,
    encode,
)
from signaling.replication.events import Event, derived_key
from signaling.replication.log import EventLog
from signaling.state import State

logger = logging.getLogger(__name__)

#: Close code "try again later" (IANA WebSocket close code registry).
CLOSE_TRY_AGAIN: Final = 1013
_CONTROL: Final = (WSMsgType.PING, WSMsgType.PONG)
#: Strangers whom ``/worker`` turned away are logged this often (a second, at once), then only at ``debug``.
_WARNINGS_PER_SECOND, _WARNINGS_AT_ONCE = 1 / 60, 5


def disguised(worker_secret: str) -> str:
    """What stands for a worker's secret behind the sockets, so that the secret itself enters no log."""
    return derived_key(worker_secret, "worker hello").hex() if worker_secret else ""


class Reader:
    """Takes in what comes on connections.

    Args:
        config: limits.
        state: the state machine's, only read.
        gate: knows who may enter.
        metrics: counts.
        performer: answers what the state machine need not hear of.
        log: takes events.
    """

    def __init__(
        self,
        config: SignalingConfig,
        state: State,
        gate: Gate,
        metrics: Metrics,
        performer: Performer,
        log: EventLog,
    ) -> None:
        self._config = config
        self._state = state
        self._gate = gate
        self._metrics = metrics
        self._performer = performer
        self._log = log
        self._warnings = TokenBucket(_WARNINGS_PER_SECOND, _WARNINGS_AT_ONCE, time.monotonic())

    # ------------------------------------------------------------ terminals

    async def terminal(self, connection: Connection) -> None:
        """Read a terminal's connection until it ends.

        Raises:
            ConnectionError: it has ended.
        """
        config = self._config
        bucket = TokenBucket(config.messages_per_second, config.message_burst, time.monotonic())
        hello_by = time.monotonic() + config.hello_timeout_s
        excess = 0
        while True:
            try:
                message = await self._next(connection, hello_by)
            except TimeoutError:
                late = Error(code=ErrorCode.HELLO_EXPECTED, message="No hello came in time.")
                self._performer.hang_up(connection, late)
                return
            now = time.monotonic()
            if not bucket.take(now):
                excess += 1
                if excess > config.abuse_limit:
                    flood = Error(code=ErrorCode.RATE_LIMITED, message="You kept sending too fast.")
                    self._performer.hang_up(connection, flood)
                    return
                sentence = f"More than {config.messages_per_second:g} messages a second; this one is dropped."
                self._refuse(connection, ErrorCode.RATE_LIMITED, sentence)
            else:
                excess = max(0, excess - 1)
                if message.type not in _CONTROL:
                    self._take(connection, message, now)
            # What has arrived already is read without waiting: the others must have their turn too.
            await asyncio.sleep(0)

    def _take(self, connection: Connection, message: WSMessage, now: float) -> None:
        try:
            request = _decoded(TERMINAL_MESSAGE, message)
        except ProtocolError as error:
            self._refuse(connection, error.code, error.message, error.re)
            return
        admission = None
        if isinstance(request, Hello):
            admission = self._gate.admission(request, self._log.now)
            if isinstance(admission, Grant) and not self._gate.take_person(connection, admission, now):
                taken = Error(
                    re=request.id,
                    code=ErrorCode.RATE_LIMITED,
                    message="This invitation is in use by as many as it may be.",
                )
                self._performer.hang_up(connection, taken)
                return
            # It was read; no log needs it.
            request = request.model_copy(update={"token": None})
        elif isinstance(request, Ping) and connection.registered:
            self._metrics.count(Tally("message", (request.type,)))
            connection.send(encode(Pong(re=request.id)))
            self._log.heard(connection.number)
            return
        self._log.submit(Event(self._log.node, "terminal", connection.number, request, admission))

    def _refuse(self, connection: Connection, code: ErrorCode, sentence: str, re: str | None = None) -> None:
        """Refuse what is no message or came too fast. It is a sign of life nevertheless."""
        self._performer.error(connection, code, sentence, re)
        self._log.heard(connection.number)

    def unavailable(self, event: Event) -> None:
        """An event of a terminal could not be put into the log: say so to who sent it."""
        connection = self._performer.connections.get(event.connection)
        if connection is None:
            return
        sentence = "The service cannot take this at the moment; a call that runs goes on. Try again soon."
        message = event.message
        session = getattr(message, "session", None)  # so that the page tries this media session again
        self._performer.error(connection, ErrorCode.UNAVAILABLE, sentence, message.id, session)
        if isinstance(message, Hello):
            connection.close(CLOSE_TRY_AGAIN, ErrorCode.UNAVAILABLE.value)

    # ------------------------------------------------------------ workers

    async def worker(self, connection: Connection) -> None:
        """Read a media worker's connection until it ends.

        Until it is welcome it may say hello, once: nothing that a stranger sends gets into the log.

        Raises:
            ConnectionError: it has ended.
        """
        config = self._config
        bucket = TokenBucket(config.messages_per_second, config.message_burst, time.monotonic())
        hello_by = time.monotonic() + config.hello_timeout_s
        greeted = False
        while True:
            try:
                message = await self._next(connection, hello_by)
            except TimeoutError:
                self._turn_away(connection, ErrorCode.HELLO_EXPECTED, "No hello came in time.")
                return
            if connection.registered:
                self._take_of_worker(connection, message)
            elif message.type in _CONTROL:
                if not bucket.take(time.monotonic()):
                    self._turn_away(connection, ErrorCode.RATE_LIMITED, "You kept sending too fast.")
                    return
            elif greeted:
                self._turn_away(connection, ErrorCode.OUT_OF_ORDER, "Wait for the welcome.")
                return
            elif self._take_worker_hello(connection, message):
                greeted = True
            else:
                return
            # What has arrived already is read without waiting: the others must have their turn too.
            await asyncio.sleep(0)

    def _take_worker_hello(self, connection: Connection, message: WSMessage) -> bool:
        """Take the first message of a worker; False if it was turned away."""
        try:
            hello = _decoded(WORKER_MESSAGE, message)
        except ProtocolError as error:
            self._turn_away(connection, error.code, error.message)
            return False
        if not isinstance(hello, WorkerHello):
            self._turn_away(connection, ErrorCode.HELLO_EXPECTED, "Say hello first.")
            return False
        if not same_secret(self._config.worker_secret, hello.secret):
            sentence = "The worker's secret is not the right one."
            self._turn_away(connection, ErrorCode.UNAUTHORISED, sentence)
            return False
        self._submit_of_worker(connection, hello)
        return True

    def _take_of_worker(self, connection: Connection, message: WSMessage) -> None:
        if message.type in _CONTROL:
            return
        try:
            said = _decoded(WORKER_MESSAGE, message)
        except ProtocolError as error:
            logger.warning("A worker's message was refused: %s", error.message)
            self._metrics.count(Tally("worker_refusal", (error.code.value,)))
            connection.send(encode(WorkerRefused(code=error.code, message=error.message)))
            return
        self._submit_of_worker(connection, said)

    def _submit_of_worker(self, connection: Connection, said: Any) -> None:
        if isinstance(said, WorkerHello):
            said = said.model_copy(update={"secret": disguised(said.secret)})
        self._log.submit(Event(self._log.node, "worker", connection.number, said))

    def _turn_away(self, connection: Connection, code: ErrorCode, sentence: str) -> None:
        """Close the connection of somebody who is no worker, as far as is known."""
        # Its secret may have been mistyped, which an operator should find; but it may be anybody.
        level = logging.WARNING if self._warnings.take(time.monotonic()) else logging.DEBUG
        logger.log(level, "A connection of %s to /worker was refused: %s", connection.address, code.value)
        self._metrics.count(Tally("worker_refusal", (code.value,)))
        self._performer.hang_up(connection, WorkerRefused(code=code, message=sentence))

    # ------------------------------------------------------------ both

    async def _next(self, connection: Connection, hello_by: float) -> WSMessage:
        """The next message (text, binary, pong or ping, which is answered already).

        Raises:
            ConnectionError: the connection has ended.
            TimeoutError: nobody was welcomed on it in time.
        """
        while True:
            wait = None if connection.registered else max(0.001, hello_by - time.monotonic())
            try:
                message = await connection.socket.receive(wait)
            except TimeoutError:
                if connection.registered:
                    continue
                raise
            if connection.closing:
                raise ConnectionError
            if message.type is WSMsgType.PING:
                await connection.socket.pong(message.data)
            elif message.type not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PONG):
                raise ConnectionError
            return message


def _decoded(adapter: TypeAdapter[Any], message: WSMessage) -> Any:
    if message.type is not WSMsgType.TEXT:
        raise ProtocolError(ErrorCode.MALFORMED, "Messages are JSON texts, not binary.")
    return decode(adapter, message.data)
