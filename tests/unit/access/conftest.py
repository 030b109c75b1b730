"""The whole web application by invitation, as `understudy serve` puts it together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from server.composition import compose
from server.settings import Settings
from signaling.tokens import mint

JOIN_KEY = "join-key-" + "k" * 32
API_KEY = "api-key-of-the-backend"
METRICS_SECRET = "metrics-secret-of-prometheus"
WORKER_SECRET = "worker-secret-of-signaling"

Start = Callable[..., Awaitable[TestClient]]


def token(key: str = JOIN_KEY, room: str | None = "r", ttl_s: float = 60, **claims: Any) -> str:
    return mint(key, room=room, ttl_s=ttl_s, **claims)[0]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the application; keyword arguments are further settings."""
    clients: list[TestClient] = []

    async def starting(**settings: Any) -> TestClient:
        app = compose(Settings(data_dir=tmp_path, **settings), needs_worker=False)
        client: TestClient = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        return client

    yield starting
    for client in clients:
        await client.close()


@pytest.fixture
async def guarded(start: Start) -> TestClient:
    """With every key and secret set."""
    return await start(
        join_key=JOIN_KEY, api_key=API_KEY, metrics_secret=METRICS_SECRET, worker_secret=WORKER_SECRET
    )
