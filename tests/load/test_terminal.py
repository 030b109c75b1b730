"""The signaling half of a synthetic peer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.bench.terminal import SyntheticTerminal
from signaling import protocol


@pytest.fixture
def welcome() -> str:
    return protocol.encode(
        protocol.Welcome(
            terminal="t1", resume="token", resumed=False, resume_s=30.0, heartbeat_s=3.0, ice_servers=[]
        )
    )


async def test_a_goodbye_arrives_also_at_a_server_that_is_busy_talking(welcome: str) -> None:
    """Found in a soak: a connection closed while something still came in is reset, what was said last is
    lost with it, and the terminal kept its place for half a minute."""
    read: list[str] = []
    leaving, ended = asyncio.Event(), asyncio.Event()

    async def busy(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive_str()
        await socket.send_str(welcome)
        await leaving.wait()
        with suppress(ConnectionError):
            for _ in range(100):
                await socket.send_str(protocol.encode(protocol.Pong()))
                await asyncio.sleep(0.002)
        async for message in socket:
            read.append(message.data)
        ended.set()
        return socket

    async def heard(message: Any, at: float) -> None:
        pass

    app = web.Application()
    app.router.add_get("/ws", busy)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        terminal = SyntheticTerminal("Ada", heard)
        await terminal.enter(http, str(server.make_url("/ws")))
        await asyncio.sleep(0)
        leaving.set()
        await asyncio.sleep(0.01)
        await terminal.leave()
        async with asyncio.timeout(5):
            await ended.wait()
    assert read == [protocol.encode(protocol.Bye())]
    assert terminal.errors == []
