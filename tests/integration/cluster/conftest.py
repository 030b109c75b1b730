"""Signaling nodes that share a Redis: in this process, so that their state can be compared."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from signaling.app import Signaling, setup_signaling
from signaling.config import SignalingConfig
from signaling.replication.records import dump_state
from tests.integration.cluster.redis_server import RedisServer
from tests.integration.signaling.harness import SECRET, House

Join = Callable[..., Awaitable[House]]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = RedisServer(tmp_path / "redis", port)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def join(redis: RedisServer) -> AsyncIterator[Join]:
    """Starts a node."""
    clients: list[TestClient] = []

    async def start(**settings: Any) -> House:
        config = SignalingConfig(**{"worker_secret": SECRET, "redis_url": redis.url, **settings})
        app = web.Application()
        signaling = setup_signaling(app, config)
        client: TestClient = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        return House(client, signaling)

    yield start
    for client in clients:
        await client.close()


async def eventually(true: Callable[[], Any], within_s: float = 15.0) -> Any:
    """Wait until it is."""
    async with asyncio.timeout(within_s):
        while not (result := true()):
            await asyncio.sleep(0.02)
        return result


async def agreed(*nodes: Signaling) -> None:
    """Wait until all nodes have the same state, and a log to go on with."""

    def same() -> bool:
        first, *others = (dump_state(node.switchboard.state) for node in nodes)
        return all(node.log.trouble is None for node in nodes) and all(other == first for other in others)

    await eventually(same)
