"""The aiohttp application of signaling: WebSockets for terminals and workers, health, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import WSMessage, WSMsgType, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import TypeAdapter

from signaling.admission import TokenBucket, may_read_metrics
from signaling.config import SignalingConfig
from signaling.connection import Connection, Socket
from signaling.effects import CLOSE_POLICY, Close, Effect, Record, Send, Tally
from signaling.gate import Gate
from signaling.grants import Grant
from signaling.log_context import log_context
from signaling.metrics import Metrics
from signaling.protocol import (
    TERMINAL_MESSAGE,
    WORKER_MESSAGE,
    Error,
    ErrorCode,
    Hello,
    Message,
    ProtocolError,
    WorkerRefused,
    decode,
    encode,
)
from signaling.switchboard import Switchboard

logger = logging.getLogger(__name__)

SHUTDOWN_S: Final = 1.0
INTERNAL_SENTENCE: Final = "The server failed on this message."


class Signaling:
    """Runs the state machine on real connections.

    Args:
        config: times, limits, who may connect.
        registry: where metrics are registered.
        on_record: told what an audit log keeps, with the address it came from; must not block.
    """

    def __init__(
        self,
        config: SignalingConfig,
        registry: CollectorRegistry,
        on_record: Callable[[Record, str | None], None] | None = None,
    ) -> None:
        self.config = config
        self._on_record = on_record
        self.registry = registry
        self.switchboard = Switchboard(
            config.limits,
            secrets.token_urlsafe,
            worker_secret=config.worker_secret,
            ice_servers=config.ice_servers,
            turn=config.turn,
            by_invitation=bool(config.join_key),
            epoch=time.time() - time.monotonic(),
        )
        self.shutting_down = False
        self._metrics = Metrics(registry, self.switchboard.state)
        self._gate = Gate(config)
        self._numbers = itertools.count(1)
        self._connections: dict[int, Connection] = {}
        self._handlers: set[asyncio.Task[Any]] = set()

    @property
    def workers(self) -> int:
        """Media workers connected now."""
        return len(self.switchboard.state.worker_by_connection)

    # ------------------------------------------------------------ HTTP

    async def terminal_endpoint(self, request: web.Request) -> web.StreamResponse:
        """``/ws``: one connection of a terminal."""
        refusal = self._gate.page_refusal(request.headers.get("Origin"), request.host)
        if refusal is not None:
            return self._turned_away(refusal[0], 403, refusal[1])
        return await self._admit(request, self._serve_terminal)

    async def worker_endpoint(self, request: web.Request) -> web.StreamResponse:
        """``/worker``: one connection of a media worker."""
        if "Origin" in request.headers:
            return self._turned_away("origin", 403, "This is for media workers, not for pages.")
        return await self._admit(request, self._serve_worker)

    async def health(self, request: web.Request) -> web.Response:
        """``/healthz``: the process answers."""
        return web.json_response({"status": "ok"})

    async def readiness(self, request: web.Request) -> web.Response:
        """``/readyz``: new terminals are taken. Text and direct calls need no worker."""
        status = "shutting_down" if self.shutting_down else "ok"
        body = {"status": status, "workers": self.workers}
        return web.json_response(body, status=503 if self.shutting_down else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        """``/metrics``: in Prometheus' text format."""
        if not may_read_metrics(self.config.metrics_secret, request.remote, request.headers):
            return self._turned_away("metrics", 401, "This needs the metrics secret as a bearer token.")
        return web.Response(
            body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def lifespan(self, app: web.Application) -> Any:
        """Lets time pass for the state machine while the application runs (an aiohttp cleanup context)."""
        ticking = asyncio.create_task(self._tick(), name="signaling-tick")
        yield
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking

    async def shut_down(self, app: web.Application) -> None:
        """Tell everybody and close all connections; cut those that do not close in time."""
        self.shutting_down = True
        self._perform(self.switchboard.shut_down())
        for connection in list(self._connections.values()):
            connection.close(1001, "shutting_down")  # also those that have not said hello
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=SHUTDOWN_S)
        for connection in list(self._connections.values()):
            connection.abort()

    # ------------------------------------------------------------ connections

    def _turned_away(self, why: str, status: int, sentence: str) -> web.Response:
        self._metrics.count(Tally("connection", (f"refused_{why}",)))
        body = {
            "error": {"code": ErrorCode.UNAUTHORISED if status in (401, 403) else why, "message": sentence}
        }
        return web.json_response(body, status=status)

    async def _admit(self, request: web.Request, serve: Callable[..., Any]) -> web.StreamResponse:
        address = self._gate.address(request.remote, request.headers)
        if self.shutting_down:
            return self._turned_away(ErrorCode.SHUTTING_DOWN, 503, "The service is shutting down.")
        if not self._gate.enter(address, time.monotonic()):
            return self._turned_away(
                ErrorCode.RATE_LIMITED, 429, "There are too many connections from your address."
            )
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            socket = Socket()
            await socket.prepare(request)
            if request.transport is not None:
                await serve(socket, request.transport, address)
            return socket
        finally:
            self._handlers.discard(task)
            self._gate.leave(address)

    async def _serve_terminal(self, socket: Socket, transport: asyncio.Transport, address: str) -> None:
        config = self.config
        connection = self._open(socket, transport, address, config.queue_messages, config.queue_bytes)
        await self._run(connection, self._read_terminal, self.switchboard.disconnected)

    async def _serve_worker(self, socket: Socket, transport: asyncio.Transport, address: str) -> None:
        config = self.config
        connection = self._open(
            socket, transport, address, config.worker_queue_messages, config.worker_queue_bytes
        )
        await self._run(connection, self._read_worker, self._worker_disconnected)

    def _worker_disconnected(self, number: int, now: float) -> list[Effect]:
        worker = self.switchboard.state.worker_by_connection.get(number)
        if worker is not None:
            logger.info("Media worker %s disconnected with %d drivers.", worker.id, len(worker.drivers))
        return self.switchboard.worker_disconnected(number, now)

    def _open(
        self,
        socket: Socket,
        transport: asyncio.Transport,
        address: str,
        max_messages: int,
        max_bytes: int,
    ) -> Connection:
        number = next(self._numbers)
        connection = Connection(
            number, socket, transport, address, max_messages=max_messages, max_bytes=max_bytes
        )
        self._connections[number] = connection
        return connection

    async def _run(
        self,
        connection: Connection,
        read: Callable[[Connection], Any],
        disconnected: Callable[[int, float], list[Effect]],
    ) -> None:
        """Read and write until the connection ends, then tell the state machine."""
        writer = asyncio.create_task(connection.write(), name=f"signaling-write-{connection.number}")
        try:
            await read(connection)
        except ConnectionError:
            pass
        finally:
            self._perform(disconnected(connection.number, time.monotonic()))
            del self._connections[connection.number]
            self._gate.leave_person(connection)
            self._metrics.count(Tally("connection", ("overflow" if connection.overflowed else "closed",)))
            if connection.closing:
                with contextlib.suppress(asyncio.CancelledError):
                    await writer  # it closes the WebSocket, or is cut off when that takes too long
            writer.cancel()

    async def _next(self, connection: Connection, hello_by: float | None) -> WSMessage:
        """The next message (text, binary or ping, which is answered already).

        Raises:
            ConnectionError: the connection has ended.
            TimeoutError: no hello came in time.
        """
        while True:
            wait = None if hello_by is None else max(0.001, hello_by - time.monotonic())
            message = await connection.socket.receive(wait)
            if connection.closing:
                raise ConnectionError
            if message.type is WSMsgType.PONG:
                continue
            if message.type is WSMsgType.PING:
                await connection.socket.pong(message.data)
            elif message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                raise ConnectionError
            return message

    async def _read_terminal(self, connection: Connection) -> None:
        config, board, number = self.config, self.switchboard, connection.number
        bucket = TokenBucket(config.messages_per_second, config.message_burst, time.monotonic())
        hello_by = time.monotonic() + config.hello_timeout_s
        excess = 0
        while True:
            said_hello = number in board.state.by_connection
            try:
                message = await self._next(connection, None if said_hello else hello_by)
            except TimeoutError:
                error = Error(code=ErrorCode.HELLO_EXPECTED, message="No hello came in time.")
                self._hang_up(connection, error)
                return
            now = time.monotonic()
            if not bucket.take(now):
                excess += 1
                if excess > config.abuse_limit:
                    error = Error(code=ErrorCode.RATE_LIMITED, message="You kept sending too fast.")
                    self._hang_up(connection, error)
                    return
                sentence = f"More than {config.messages_per_second:g} messages a second; this one is dropped."
                self._perform(board.refuse(number, ErrorCode.RATE_LIMITED, sentence, None, now))
            else:
                excess = max(0, excess - 1)
                if message.type is not WSMsgType.PING:
                    self._take(connection, message, now)
            # What has arrived already is read without waiting: the others must have their turn too.
            await asyncio.sleep(0)

    def _take(self, connection: Connection, message: WSMessage, now: float) -> None:
        board, number = self.switchboard, connection.number
        try:
            request = _decoded(TERMINAL_MESSAGE, message)
            admission = self._gate.admission(request, now) if isinstance(request, Hello) else None
            if isinstance(admission, Grant) and not self._gate.take_person(connection, admission, now):
                error = Error(
                    re=request.id,
                    code=ErrorCode.RATE_LIMITED,
                    message="This invitation is in use by as many as it may be.",
                )
                self._hang_up(connection, error)
                return
            effects = board.receive(number, request, now, admission)
        except ProtocolError as error:
            effects = board.refuse(number, error.code, error.message, error.re, now)
        except Exception:
            terminal = board.state.by_connection.get(number)
            known = None if terminal is None else terminal.id
            with log_context(terminal=known, call=self._calls_of(known)):
                logger.exception("A terminal's message failed")
            effects = board.refuse(number, ErrorCode.INTERNAL, INTERNAL_SENTENCE, None, now)
        self._perform(effects)

    async def _read_worker(self, connection: Connection) -> None:
        board, number = self.switchboard, connection.number
        hello_by = time.monotonic() + self.config.hello_timeout_s
        while True:
            registered = number in board.state.worker_by_connection
            try:
                message = await self._next(connection, None if registered else hello_by)
            except TimeoutError:
                refused = WorkerRefused(code=ErrorCode.HELLO_EXPECTED, message="No hello came in time.")
                self._hang_up(connection, refused)
                return
            if message.type is WSMsgType.PING:
                continue
            try:
                effects = board.worker_receive(number, _decoded(WORKER_MESSAGE, message), time.monotonic())
            except ProtocolError as error:
                logger.warning("A worker's message was refused: %s", error.message)
                effects = board.worker_refuse(number, error.code, error.message)
            except Exception:
                logger.exception("A worker's message failed")
                effects = board.worker_refuse(number, ErrorCode.INTERNAL, INTERNAL_SENTENCE)
            self._perform(effects)
            worker = board.state.worker_by_connection.get(number)
            if worker is not None and not registered:
                logger.info("Media worker %s registered for %d drivers.", worker.id, worker.capacity)

    def _hang_up(self, connection: Connection, last_word: Message) -> None:
        connection.send(encode(last_word))
        connection.close(CLOSE_POLICY, str(getattr(last_word, "code", "")))

    # ------------------------------------------------------------ effects and time

    def _perform(self, effects: list[Effect]) -> None:
        last: Message | None = None
        text = ""
        for effect in effects:
            match effect:
                case Send(number, message):
                    connection = self._connections.get(number)
                    if connection is None:
                        continue
                    if message is not last:  # a room's state goes to all its members
                        last, text = message, encode(message)
                    connection.send(text)
                case Close(number, code, reason):
                    if number in self._connections:
                        self._connections[number].close(code, reason)
                case Tally():
                    self._metrics.count(effect)
                case Record(connection=number):
                    self._log(effect)
                    connection = self._connections.get(number or 0)
                    if self._on_record is not None:
                        self._on_record(effect, None if connection is None else connection.address)

    def _log(self, record: Record) -> None:
        """One line for operators: what happened to which terminal, in which of its calls; never who it is."""
        with log_context(terminal=record.terminal, call=self._calls_of(record.terminal)):
            logger.info("%s%s", record.event, f" ({record.detail})" if record.detail else "")

    def _calls_of(self, terminal_id: str | None) -> str | None:
        """The calls that a terminal is in now, by comma."""
        terminal = self.switchboard.state.terminals.get(terminal_id or "")
        return None if terminal is None else ",".join(call.id for call in terminal.calls())

    async def _tick(self) -> None:
        while True:
            due = time.monotonic() + self.config.tick_s
            await asyncio.sleep(self.config.tick_s)
            self._metrics.event_loop_lag.observe(max(0.0, time.monotonic() - due))
            try:
                self._perform(self.switchboard.tick(time.monotonic()))
            except Exception:
                logger.exception("The passing of time failed")


#: Where an application keeps its :class:`Signaling`.
SIGNALING: Final = web.AppKey("signaling", Signaling)


def _decoded(adapter: TypeAdapter[Any], message: WSMessage) -> Any:
    if message.type is not WSMsgType.TEXT:
        raise ProtocolError(ErrorCode.MALFORMED, "Messages are JSON texts, not binary.")
    return decode(adapter, message.data)


def setup_signaling(
    app: web.Application,
    config: SignalingConfig,
    registry: CollectorRegistry | None = None,
    on_record: Callable[[Record, str | None], None] | None = None,
) -> Signaling:
    """Add ``/ws`` and ``/worker`` to an application and run signaling with it.

    Args:
        app: gets the routes and the start and end of signaling.
        config: settings.
        registry: where metrics are registered; by default one of its own.
        on_record: told what an audit log keeps, with the address it came from; must not block.
    """
    signaling = Signaling(config, registry or CollectorRegistry(), on_record)
    app[SIGNALING] = signaling
    app.router.add_get("/ws", signaling.terminal_endpoint)
    app.router.add_get("/worker", signaling.worker_endpoint)
    app.cleanup_ctx.append(signaling.lifespan)
    app.on_shutdown.append(signaling.shut_down)
    return signaling


def create_app(config: SignalingConfig, registry: CollectorRegistry | None = None) -> web.Application:
    """Signaling by itself: also ``/healthz``, ``/readyz`` and ``/metrics``."""
    app = web.Application()
    signaling = setup_signaling(app, config, registry)
    app.router.add_get("/healthz", signaling.health)
    app.router.add_get("/readyz", signaling.readiness)
    app.router.add_get("/metrics", signaling.metrics)
    return app
