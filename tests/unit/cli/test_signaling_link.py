"""The worker's line to signaling: what it says on a new connection."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from server.signaling_link import SignalingLink
from signaling.protocol import WorkerHello, WorkerLoad, WorkerWelcome, encode


async def test_what_was_left_unsent_is_not_said_before_the_next_welcome() -> None:
    """Signaling hangs up on whoever says more than hello before it is welcome."""
    heard: list[list[str]] = []
    again = asyncio.Event()

    async def signaling(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        heard.append(said := [])
        said.append(json.loads((await socket.receive()).data)["type"])
        if len(heard) == 1:
            await socket.send_str(encode(WorkerWelcome(ice_servers=[])))
            await socket.close()
            return socket
        with suppress(TimeoutError):
            said.append(json.loads((await socket.receive(timeout=0.3)).data)["type"])
        again.set()
        return socket

    def welcome(_: Any) -> None:
        link.welcomed()
        for drivers in range(5):  # the connection ends before they are all on their way
            link.send(WorkerLoad(drivers=drivers, load=0.0))

    app = web.Application()
    app.router.add_get("/worker", signaling)
    async with TestServer(app) as server:
        hello = WorkerHello(worker="w", secret="s", capacity=1)
        link = SignalingLink(str(server.make_url("/worker")), hello, welcome, lambda: None)
        running = asyncio.create_task(link.run())
        async with asyncio.timeout(10):
            await again.wait()
        running.cancel()
    assert heard[1] == ["worker.hello"]
