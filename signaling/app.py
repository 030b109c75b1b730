"""Signaling in an aiohttp application: WebSockets for terminals and workers, and the time that passes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from signaling.config import SignalingConfig
from signaling.connection import Connection, Socket
from signaling.effects import Tally
from signaling.gate import Gate
from signaling.metrics import Metrics
from signaling.performing import OnRecord, Performer
from signaling.protocol import ErrorCode
from signaling.reading import Reader, disguised
from signaling.replication.clock import LogTokens
from signaling.replication.events import NODE_SHIFT, Event, Kind, derived_key
from signaling.replication.log import EventLog, LocalLog
from signaling.replication.replica import Replica
from signaling.state import ConnectionId
from signaling.switchboard import Switchboard

logger = logging.getLogger(__name__)

SHUTDOWN_S: Final = 1.0
#: Close code "service restart" (IANA WebSocket close code registry): come back, here or elsewhere.
CLOSE_SERVICE_RESTART: Final = 1012


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
        on_record: OnRecord | None = None,
    ) -> None:
        self.config = config
        self.registry = registry
        tokens = LogTokens(derived_key(config.worker_secret, "tokens")) if config.redis_url else None
        self.switchboard = Switchboard(
            config.limits,
            tokens or secrets.token_urlsafe,
            worker_secret=disguised(config.worker_secret),
            ice_servers=config.ice_servers,
            turn=config.turn,
            by_invitation=bool(config.join_key),
            epoch=time.time() - time.monotonic(),
        )
        self.shutting_down = False
        state = self.switchboard.state
        self._metrics = Metrics(registry, state)
        self._gate = Gate(config)
        self._numbers = itertools.count(1)
        self._performer = Performer(state, self._metrics, on_record)
        self.log = self._make_log(tokens)
        self._metrics.watch(lambda: self.log.trouble)
        self._reader = Reader(config, state, self._gate, self._metrics, self._performer, self.log)
        self._handlers: set[asyncio.Task[Any]] = set()

    def _make_log(self, tokens: LogTokens | None) -> EventLog:
        replica = Replica(self.switchboard)
        if tokens is None:
            return LocalLog(replica, self._performer.perform)
        from signaling.replication.redis_log import RedisLog  # Redis' client is for several nodes alone

        return RedisLog(
            self.config.redis_url,
            self.config,
            replica,
            tokens,
            perform=self._performer.perform,
            refuse=lambda event: self._reader.unavailable(event),
            connections=self._open_connections,
            resync=self._resync,
        )

    @property
    def workers(self) -> int:
        """Media workers connected now."""
        return len(self.switchboard.state.worker_by_connection)

    @property
    def has_lasting_worker(self) -> bool:
        """Whether a media worker is connected that is not draining; it may be full."""
        return any(not worker.draining for worker in self.switchboard.state.worker_by_connection.values())

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

    async def lifespan(self, app: web.Application) -> Any:
        """Lets time pass for the state machine while the application runs (an aiohttp cleanup context)."""
        await self.log.start()
        ticking = asyncio.create_task(self._tick(), name="signaling-tick")
        yield
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        await self.log.stop()

    async def shut_down(self, app: web.Application) -> None:
        """Tell everybody and close all connections; cut those that do not close in time.

        Where there may be other nodes the calls do not end: terminals and workers come back through these.
        """
        self.shutting_down = True
        if self.log.node == 0:
            self._performer.perform(self.switchboard.shut_down(), True)
        for connection in list(self._performer.connections.values()):
            connection.close(1001, "shutting_down")  # also those that have not said hello
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=SHUTDOWN_S)
        for connection in list(self._performer.connections.values()):
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
        await self._run(connection, self._reader.terminal, "terminal_lost")

    async def _serve_worker(self, socket: Socket, transport: asyncio.Transport, address: str) -> None:
        config = self.config
        connection = self._open(
            socket, transport, address, config.worker_queue_messages, config.worker_queue_bytes
        )
        await self._run(connection, self._reader.worker, "worker_lost")

    def _open(
        self,
        socket: Socket,
        transport: asyncio.Transport,
        address: str,
        max_messages: int,
        max_bytes: int,
    ) -> Connection:
        number = (self.log.node << NODE_SHIFT) + next(self._numbers)
        connection = Connection(
            number, socket, transport, address, max_messages=max_messages, max_bytes=max_bytes
        )
        self._performer.connections[number] = connection
        return connection

    async def _run(self, connection: Connection, read: Callable[[Connection], Any], lost: Kind) -> None:
        """Read and write until the connection ends, then tell the state machine."""
        number = connection.number
        writer = asyncio.create_task(connection.write(), name=f"signaling-write-{number}")
        try:
            await read(connection)
        except ConnectionError:
            pass
        finally:
            worker = self.switchboard.state.worker_by_connection.get(number)
            if worker is not None:
                logger.info("Media worker %s disconnected with %d drivers.", worker.id, len(worker.drivers))
            self.log.submit(Event(self.log.node, lost, number))
            del self._performer.connections[number]
            self._gate.leave_person(connection)
            self._metrics.count(Tally("connection", ("overflow" if connection.overflowed else "closed",)))
            if connection.closing:
                with contextlib.suppress(asyncio.CancelledError):
                    await writer  # it closes the WebSocket, or is cut off when that takes too long
            writer.cancel()

    # ------------------------------------------------------------ the log

    def _open_connections(self) -> tuple[ConnectionId, ...]:
        return tuple(c.number for c in self._performer.connections.values() if not c.closing)

    def _resync(self, everybody: bool) -> None:
        """Have terminals and workers come back whom the state machine has lost or tells another history."""
        state = self.switchboard.state
        for connection in list(self._performer.connections.values()):
            number = connection.number
            known = number in state.by_connection or number in state.worker_by_connection
            if connection.registered and (everybody or not known):
                connection.close(CLOSE_SERVICE_RESTART, "resync")

    async def _tick(self) -> None:
        while True:
            due = time.monotonic() + self.config.tick_s
            await asyncio.sleep(self.config.tick_s)
            self._metrics.event_loop_lag.observe(max(0.0, time.monotonic() - due))
            self.log.tick()


#: Where an application keeps its :class:`Signaling`.
SIGNALING: Final = web.AppKey("signaling", Signaling)


def setup_signaling(
    app: web.Application,
    config: SignalingConfig,
    registry: CollectorRegistry | None = None,
    on_record: OnRecord | None = None,
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
