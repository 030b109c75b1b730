"""Two `understudy signaling` processes: one is killed, its terminal is in the same call through the other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.serve import free_port
from signaling.protocol import WORKER_COMMAND
from tests.integration.cluster.redis_server import RedisServer
from tests.integration.signaling.harness import SECRET, Peer, Terminal

ROOT = Path(__file__).parents[3]


class Node:
    """One signaling process."""

    def __init__(self, redis: RedisServer, folder: Path) -> None:
        self.port = free_port()
        foreign = {key: value for key, value in os.environ.items() if "UNDERSTUDY_" not in key}
        settings = {
            "CONFIG": "",
            "PORT": str(self.port),
            "DATA_DIR": str(folder / "data"),
            "WORKER_SECRET": SECRET,
            "REDIS_URL": redis.url,
            "AUDIT_ENABLED": "false",
        }
        environment = foreign | {f"UNDERSTUDY_{name}": value for name, value in settings.items()}
        self.log = folder / f"{self.port}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", "signaling"],
                env={**environment, "PYTHONPATH": str(ROOT)},
                cwd=folder,
                stdout=output,
                stderr=output,
            )

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class Cluster:
    def __init__(self, redis: RedisServer, folder: Path, http: aiohttp.ClientSession) -> None:
        self._redis, self._folder, self._http = redis, folder, http
        self.nodes: list[Node] = []

    async def node(self) -> Node:
        node = Node(self._redis, self._folder)
        self.nodes.append(node)
        return node

    async def ready(self, *nodes: Node) -> None:
        async with asyncio.timeout(60):
            for node in nodes:
                while True:
                    assert node.process.poll() is None, node.log.read_text()
                    try:
                        async with self._http.get(node.url("/readyz")) as response:
                            if response.status == 200:
                                break
                    except aiohttp.ClientError:
                        pass
                    await asyncio.sleep(0.1)

    async def terminal(self, node: Node, name: str, resume: str | None = None) -> Terminal:
        terminal = Terminal(await self._http.ws_connect(node.url("/ws")))
        await terminal.hello(name, resume)
        terminal.ping_every(2)
        return terminal

    async def worker(self, node: Node, name: str) -> Peer:
        worker = Peer(await self._http.ws_connect(node.url("/worker")), WORKER_COMMAND)
        await worker.send("worker.hello", worker=name, secret=SECRET, capacity=8, instance="i1")
        await worker.next("worker.welcome")
        return worker


@pytest.fixture
async def cluster(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with aiohttp.ClientSession() as http:
        cluster = Cluster(redis, tmp_path, http)
        yield cluster
        for node in cluster.nodes:
            node.process.kill()
            node.process.wait()


async def test_a_killed_nodes_terminal_and_worker_go_on_at_the_other(cluster: Cluster) -> None:
    one, two = await cluster.node(), await cluster.node()
    await cluster.ready(one, two)
    ada, bob = await cluster.terminal(one, "Ada"), await cluster.terminal(two, "Bob")
    await ada.answer("room.join", room="R")
    await bob.answer("room.join", room="R")
    await bob.answer("relay.request", kind="video", mode="reenacted")
    incoming: Any = await ada.next("relay.incoming")
    await ada.answer("relay.accept", request=incoming.request, mode=incoming.mode)
    call = (await bob.until(lambda m: m.type == "call.state" and len(m.members) == 2)).call
    worker = await cluster.worker(one, "w1")

    one.process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    await ada.closed()
    again = await cluster.terminal(two, "Ada", resume=ada.token)
    assert again.terminal == ada.terminal
    assert (await again.next("call.state")).call == call
    await worker.closed()
    back = await cluster.worker(two, "w1")
    assert time.monotonic() - killed < 6  # nothing of this waits for the dead node to be noticed
    await again.answer("text.send", text="Still there?")
    assert (await bob.next("text")).text == "Still there?"
    await again.send(
        "media.signal", channel="publish", session="s", description={"type": "offer", "sdp": "v=0"}
    )
    assert (await back.next("session.signal")).terminal == ada.terminal
    assert not bob.all("call.ended")

    three = await cluster.node()
    await cluster.ready(three)
    eve = await cluster.terminal(three, "Eve")
    room = await eve.answer("room.join", room="R")
    assert [member.name for member in room.members] == ["Ada", "Bob", "Eve"]


async def test_who_does_not_come_back_from_a_killed_node_is_away_for_the_others(cluster: Cluster) -> None:
    one, two = await cluster.node(), await cluster.node()
    await cluster.ready(one, two)
    ada, bob = await cluster.terminal(one, "Ada"), await cluster.terminal(two, "Bob")
    await ada.answer("room.join", room="R")
    await bob.answer("room.join", room="R")
    one.process.send_signal(signal.SIGKILL)
    away = await bob.until(lambda m: m.type == "room.state" and any(p.presence == "away" for p in m.members))
    assert [member.name for member in away.members if member.presence == "away"] == ["Ada"]
