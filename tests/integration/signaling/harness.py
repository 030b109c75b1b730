"""Terminals and workers on real WebSockets, for tests of the signaling server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestClient

from signaling.app import Signaling
from signaling.protocol import SERVER_MESSAGE, WORKER_COMMAND, decode

SECRET = "between us, and nobody else"
WAIT_S = 10.0


class Peer:
    """One WebSocket whose messages are read all the time, decoded and kept."""

    def __init__(self, socket: ClientWebSocketResponse, adapter: Any) -> None:
        self.socket = socket
        self.log: list[Any] = []
        self._adapter = adapter
        self._seen = 0
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                self.log.append(decode(self._adapter, message.data))
                async with self._news:
                    self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    async def send(self, type: str, **fields: Any) -> None:
        await self.socket.send_json({"type": type, **fields})

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The first message that was not waited for yet and is wanted."""
        async with asyncio.timeout(WAIT_S), self._news:
            while True:
                for index in range(self._seen, len(self.log)):
                    if wanted(self.log[index]):
                        self._seen = index + 1
                        return self.log[index]
                if self._reading.done():
                    raise ConnectionError(f"closed ({self.socket.close_code}) after {self.log[-3:]}")
                await self._news.wait()

    async def next(self, type: str, **fields: Any) -> Any:
        """The next message of a type with these fields, whatever comes before."""
        return await self.until(
            lambda m: m.type == type and all(getattr(m, key) == value for key, value in fields.items())
        )

    async def answer(self, type: str, **fields: Any) -> Any:
        """Send with an id and wait for what answers it."""
        id = f"m{len(self.log)}x{self._seen}"
        await self.send(type, id=id, **fields)
        return await self.until(lambda m: getattr(m, "re", None) == id)

    async def closed(self) -> int | None:
        """Wait until the other side closes; returns the close code."""
        async with asyncio.timeout(WAIT_S):
            await self._reading
        return self.socket.close_code

    def cut(self) -> None:
        """Break the connection without a word."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()

    def all(self, type: str) -> list[Any]:
        return [message for message in self.log if message.type == type]


class Terminal(Peer):
    """A terminal that has said hello."""

    terminal = ""
    token = ""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        super().__init__(socket, SERVER_MESSAGE)
        self._pinging: asyncio.Task[None] | None = None

    async def hello(self, name: str, resume: str | None = None) -> Any:
        welcome = await self.answer("hello", name=name, **({"resume": resume} if resume else {}))
        self.terminal, self.token = welcome.terminal, welcome.resume
        return welcome

    def ping_every(self, seconds: float) -> None:
        """Send heartbeats from now on."""

        async def ping() -> None:
            while not self.socket.closed:
                await self.send("ping")
                await asyncio.sleep(seconds)

        self._pinging = asyncio.create_task(ping())

    def freeze(self) -> None:
        """Say nothing any more; the connection stays."""
        assert self._pinging is not None
        self._pinging.cancel()


class House:
    """A running signaling server and whoever connects to it."""

    def __init__(self, client: TestClient, signaling: Signaling) -> None:
        self.client = client
        self.signaling = signaling

    async def connect(self, **options: Any) -> Terminal:
        """A WebSocket to /ws that has not said hello."""
        return Terminal(await self.client.ws_connect("/ws", **options))

    async def terminal(self, name: str, room: str | None = None, resume: str | None = None) -> Terminal:
        terminal = await self.connect()
        await terminal.hello(name, resume)
        if room is not None:
            await terminal.answer("room.join", room=room)
        return terminal

    async def call(self, *names: str, room: str = "R", **request: Any) -> list[Terminal]:
        """Terminals in a call that the first asked for."""
        terminals = [await self.terminal(name, room) for name in names]
        await terminals[0].answer("relay.request", **request)
        for terminal in terminals[1:]:
            incoming = await terminal.next("relay.incoming")
            await terminal.answer("relay.accept", request=incoming.request, mode=incoming.mode)
        for terminal in terminals:
            await terminal.until(lambda m: m.type == "call.state" and len(m.members) == len(names))
        return terminals

    async def stranger(self) -> Peer:
        """A WebSocket to /worker that has not said hello."""
        return Peer(await self.client.ws_connect("/worker"), WORKER_COMMAND)

    async def worker(self, name: str = "w1", secret: str = SECRET, instance: str = "i1") -> Peer:
        worker = await self.stranger()
        await worker.send("worker.hello", worker=name, secret=secret, capacity=8, instance=instance)
        return worker
