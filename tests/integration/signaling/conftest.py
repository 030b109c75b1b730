"""A signaling server for each test, with settings of its choice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from signaling.app import setup_signaling
from signaling.config import SignalingConfig
from tests.integration.signaling.harness import SECRET, House

Start = Callable[..., Awaitable[House]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    clients: list[TestClient] = []

    async def begin(**settings: Any) -> House:
        app = web.Application()
        signaling = setup_signaling(app, SignalingConfig(**{"worker_secret": SECRET, **settings}))
        client = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        return House(client, signaling)

    yield begin
    for client in clients:
        await client.close()


@pytest.fixture
async def house(start: Start) -> House:
    return await start()
