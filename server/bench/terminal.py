"""A synthetic terminal: the signaling half of a page, that counts whatever is lost or refused on the way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import aiohttp

from signaling import protocol

logger = logging.getLogger(__name__)

_WELCOME_S: Final = 10.0
#: Waits before the first and further attempts to come back (seconds); the last one is repeated.
_RETRIES_S: Final = (0.2, 0.5, 1.0, 2.0)

#: Told of each message and when it was read (``time.monotonic``).
Handler = Callable[[Any, float], Awaitable[None]]


class NotWelcomed(RuntimeError):
    """Signaling did not let the terminal in; the message says why."""


class SyntheticTerminal:
    """One connection to signaling that is kept up: heartbeats, and back with the resume token when it breaks.

    Args:
        name: display name.
        handle: told of each message, the first ``welcome`` excepted.
        token: join token, where the service is by invitation.

    Attributes:
        token: the join token.
        id: the terminal's id, once welcomed.
        tally: what was lost, refused or came back, by what it was: ``connection_lost``, ``resumed``,
            ``not_resumed``, ``gave_up``, ``refused <code>``, ``malformed``, ``fault <type>``.
        errors: refusals and faults in words.
    """

    def __init__(self, name: str, handle: Handler, token: str | None = None) -> None:
        self.name = name
        self.id = ""
        self.tally: Counter[str] = Counter()
        self.errors: list[str] = []
        self._handle = handle
        self.token = token
        self._resume: str | None = None
        self._resume_s = 0.0
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving = False

    async def enter(self, http: aiohttp.ClientSession, url: str) -> protocol.Welcome:
        """Connect and say hello.

        Args:
            http: for the WebSocket.
            url: the signaling server's ``/ws``.

        Raises:
            aiohttp.ClientError, TimeoutError: no connection.
            NotWelcomed: signaling refused the terminal.
        """
        socket, welcome = await self._connect(http, url)
        self.spawn(self._stay(http, url, socket))
        self.spawn(self._beat(welcome.heartbeat_s))
        return welcome

    async def send(self, message: protocol.Message) -> None:
        """Send a message; one that cannot be sent because the connection is away is lost, and counted."""
        socket = self._socket
        if socket is None or socket.closed:
            self.tally["unsent"] += 1
            return
        try:
            await socket.send_str(protocol.encode(message))
        except ConnectionError:  # the reader notices as well
            self.tally["unsent"] += 1

    async def leave(self) -> None:
        """Say goodbye and end everything that was spawned."""
        self._leaving = True
        if self._socket is not None and not self._socket.closed:
            with suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_str(protocol.encode(protocol.Bye()))
            # Before the reader is cancelled: after that aiohttp closes without waiting for the other side,
            # and what comes in meanwhile resets the connection, the goodbye with it.
            await self._socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something until it ends or the terminal leaves; what it raises is counted."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    # ------------------------------------------------------------ the connection

    async def _connect(
        self, http: aiohttp.ClientSession, url: str
    ) -> tuple[aiohttp.ClientWebSocketResponse, protocol.Welcome]:
        socket = await http.ws_connect(url, max_msg_size=4 * protocol.MAX_MESSAGE_BYTES)
        hello = protocol.Hello(name=self.name, resume=self._resume, token=self.token)
        await socket.send_str(protocol.encode(hello))
        try:
            first = protocol.decode(protocol.SERVER_MESSAGE, await socket.receive_str(timeout=_WELCOME_S))
        except TypeError:  # the connection was closed instead
            raise NotWelcomed(f"{self.name} was not welcomed: the connection was closed") from None
        if not isinstance(first, protocol.Welcome):
            await socket.close()
            code = first.code if isinstance(first, protocol.Error) else type(first).__name__
            self.tally[f"refused {code}"] += 1
            raise NotWelcomed(f"{self.name} was not welcomed: {getattr(first, 'message', code)}")
        self.id, self._resume, self._resume_s = first.terminal, first.resume, first.resume_s
        self._socket = socket
        return socket, first

    async def _stay(
        self, http: aiohttp.ClientSession, url: str, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        while True:
            await self._listen(socket)
            if self._leaving:
                return
            self.tally["connection_lost"] += 1
            self.errors.append(f"connection_lost: closed with code {socket.close_code}")
            returned = await self._return(http, url)
            if returned is None:
                self.tally["gave_up"] += 1
                return
            socket = returned

    async def _return(self, http: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse | None:
        """Come back while the place is kept; None when that did not work."""
        began, attempt = time.monotonic(), 0
        while time.monotonic() - began < self._resume_s:
            await asyncio.sleep(_RETRIES_S[min(attempt, len(_RETRIES_S) - 1)])
            attempt += 1
            try:
                socket, welcome = await self._connect(http, url)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                status = getattr(error, "status", None)
                self.tally["retry_failed" if status is None else f"refused HTTP {status}"] += 1
                continue
            except NotWelcomed as error:
                self.errors.append(str(error))
                return None
            self.tally["resumed" if welcome.resumed else "not_resumed"] += 1
            await self._handle(welcome, time.monotonic())
            return socket
        return None

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for received in socket:
            now = time.monotonic()
            if received.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                message = protocol.decode(protocol.SERVER_MESSAGE, received.data)
            except protocol.ProtocolError as error:
                self.tally["malformed"] += 1
                self.errors.append(f"malformed: {error.message}")
                continue
            if isinstance(message, protocol.Error):
                self.tally[f"refused {message.code}"] += 1
                self.errors.append(f"{message.code}: {message.message}")
            await self._handle(message, now)

    async def _beat(self, heartbeat_s: float) -> None:
        while True:
            await asyncio.sleep(heartbeat_s)
            if self._socket is not None and not self._socket.closed:
                await self.send(protocol.Ping())

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.tally[f"fault {type(error).__name__}"] += 1
            self.errors.append(f"{type(error).__name__}: {error}")
            logger.debug("%s", self.name, exc_info=error)
