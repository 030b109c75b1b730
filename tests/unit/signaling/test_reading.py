"""What is read of WebSockets without waiting leaves the others their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import WSMessage, WSMsgType
from prometheus_client import CollectorRegistry

from signaling.config import SignalingConfig
from signaling.connection import Connection
from signaling.gate import Gate
from signaling.metrics import Metrics
from signaling.performing import Performer
from signaling.protocol import WorkerLoad, encode
from signaling.reading import Reader
from signaling.replication.events import Event
from signaling.state import Limits, State

MESSAGES = 200
LOAD = WSMessage(WSMsgType.TEXT, encode(WorkerLoad(drivers=0, load=0)), None)
PING = WSMessage(WSMsgType.PING, b"", None)
PONG = WSMessage(WSMsgType.PONG, b"", None)


class FullSocket:
    """Much has arrived already: nothing is ever waited for."""

    def __init__(self, message: WSMessage) -> None:
        self._left: Iterator[WSMessage] = iter([message] * MESSAGES)

    async def receive(self, _wait: float | None) -> WSMessage:
        return next(self._left, WSMessage(WSMsgType.CLOSED, None, None))

    async def pong(self, data: bytes) -> None:
        pass


class Log:
    """Takes everything in."""

    node, trouble, now = 0, None, 0.0

    def __init__(self) -> None:
        self.events: list[Event] = []

    def submit(self, event: Event) -> None:
        self.events.append(event)

    def heard(self, connection: int) -> None:
        pass


class Transport:
    def abort(self) -> None:
        pass


def make(message: WSMessage, *, registered: bool) -> tuple[Reader, Connection, Log]:
    config, state, log = SignalingConfig(), State(Limits(), lambda size: "x"), Log()
    metrics = Metrics(CollectorRegistry(), state)
    performer = Performer(state, metrics, None)
    reader = Reader(config, state, Gate(config), metrics, performer, log)  # type: ignore[arg-type]
    socket: Any = FullSocket(message)
    transport: Any = Transport()
    connection = Connection(1, socket, transport, "a", max_messages=1000, max_bytes=10**6)
    connection.registered = registered
    return reader, connection, log


@pytest.mark.parametrize("message", [LOAD, PING, PONG], ids=["load", "ping", "pong"])
@pytest.mark.parametrize("endpoint", ["worker", "terminal"])
async def test_others_have_their_turn_after_each_message(endpoint: str, message: WSMessage) -> None:
    reader, connection, _ = make(message, registered=True)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    with pytest.raises(ConnectionError):
        await getattr(reader, endpoint)(connection)
    waiting.cancel()
    assert turns >= MESSAGES


@pytest.mark.parametrize("message", [LOAD, PING, PONG], ids=["load", "ping", "pong"])
async def test_nothing_of_a_stranger_is_taken_and_a_flood_ends_its_connection(message: WSMessage) -> None:
    reader, connection, log = make(message, registered=False)
    await reader.worker(connection)
    assert connection.closing
    assert not log.events
