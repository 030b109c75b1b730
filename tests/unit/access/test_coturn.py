"""What a terminal is given in its welcome opens a real relay (coturn), for that terminal and for a time."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioice import stun
from aioice.turn import create_turn_endpoint

from server.serve import free_port
from signaling.turn import TurnCredentials
from tests.unit.access.conftest import Start

SECRET = "between signaling and relay"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[int]:
    """A coturn on the loopback address; its port."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed")
    port = free_port()
    process = subprocess.Popen(
        [
            *(program, "-n", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers"),
            *("--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--listening-port", str(port)),
            *("--use-auth-secret", "--static-auth-secret", SECRET, "--realm", "understudy"),
            *("--log-file", "stdout", "--pidfile", str(tmp_path / "pid"), "--userdb", str(tmp_path / "db")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    try:
        until = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "coturn ended"
            assert time.monotonic() < until, "coturn does not listen"
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def allocate(port: int, username: str | None, credential: str | None) -> None:
    """Open a relayed address and give it back.

    Raises:
        stun.TransactionFailed: it was refused.
    """
    assert username is not None
    assert credential is not None
    async with asyncio.timeout(20):
        transport, _ = await create_turn_endpoint(
            asyncio.DatagramProtocol, server_addr=("127.0.0.1", port), username=username, password=credential
        )
    transport.close()
    await asyncio.sleep(0)


async def test_credentials_open_the_relay(start: Start, relay: int) -> None:
    client = await start(turn_urls=[f"turn:127.0.0.1:{relay}"], turn_secret=SECRET, turn_ttl_s=60)
    async with client.ws_connect("/ws") as socket:
        await socket.send_json({"type": "hello", "name": "Ada"})
        welcome = await socket.receive_json()
    (server,) = welcome["ice_servers"]
    assert server["username"].split(":")[1] == welcome["terminal"]
    await allocate(relay, server["username"], server["credential"])

    # Under another terminal's name, and when their time is over, they open nothing.
    expiry = server["username"].split(":")[0]
    with pytest.raises(stun.TransactionFailed):
        await allocate(relay, f"{expiry}:tSomebodyElse", server["credential"])
    past = TurnCredentials(urls=["turn:x"], secret=SECRET, ttl_s=60)
    (old,) = past.ice_servers("tAda", time.time() - 3600)
    with pytest.raises(stun.TransactionFailed):
        await allocate(relay, old.username, old.credential)
