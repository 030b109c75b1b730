"""What the stack's containers run, run as processes with the environment of docker-compose.yml."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any

import aiohttp
import pytest
from aioice import stun

from server.serve import free_port
from signaling.turn import TurnCredentials
from tests.unit.access.test_coturn import allocate
from tests.unit.deploy.conftest import ROOT


def said(log: Path) -> str:
    return log.read_text()


async def answer(http: aiohttp.ClientSession, url: str, secret: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        async with http.get(url, headers=headers) as response:
            return response.status, await response.text()
    except aiohttp.ClientError:
        return 0, ""


async def until_ok(
    http: aiohttp.ClientSession, url: str, process: subprocess.Popen[bytes], log: Path, secret: str = ""
) -> str:
    async with asyncio.timeout(90):
        while True:
            status, text = await answer(http, url, secret)
            if status == 200:
                return text
            assert process.poll() is None, said(log)
            await asyncio.sleep(0.1)


@pytest.fixture
async def running(stack: dict[str, Any], tmp_path: Path) -> AsyncIterator[Any]:
    """Starts a service's command; ports and the database are this test's own, all else is the stack's."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(service: str, **changed: str) -> tuple[subprocess.Popen[bytes], Path]:
        options = stack["services"][service]
        program, *arguments = options["command"]
        assert program == "understudy"
        log = tmp_path / f"{service}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", *arguments],
                env={
                    **{key: value for key, value in os.environ.items() if "UNDERSTUDY_" not in key},
                    **options["environment"],
                    "PYTHONPATH": str(ROOT),
                    "UNDERSTUDY_DATA_DIR": str(tmp_path / "data"),
                    **changed,
                },
                cwd=tmp_path,
                stdout=output,
                stderr=output,
            )
        processes.append(process)
        return process, log

    yield start
    for process in processes:
        process.kill()
        process.wait(10)


@pytest.fixture
def redis_url(stack: dict[str, Any], tmp_path: Path) -> Iterator[str]:
    """The stack's Redis, run with its file on a port of this test's own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.fail("redis-server is missing; on Debian or Ubuntu: sudo apt-get install redis-server")
    port = str(free_port())
    file = tmp_path / "redis.conf"
    file.write_text(stack["configs"]["redis"]["content"].replace("port 6379", f"port {port}"))
    process = subprocess.Popen([program, file], stdout=subprocess.DEVNULL, cwd=tmp_path)
    url: str = stack["services"]["signaling"]["environment"]["UNDERSTUDY_REDIS_URL"]
    yield url.replace(":6379", f":{port}")
    process.kill()
    process.wait()


async def test_signaling_and_worker_find_each_other(
    running: Any, stack: dict[str, Any], redis_url: str
) -> None:
    port, second_port, metrics_port = free_port(), free_port(), free_port()
    own = {"UNDERSTUDY_AUDIT_URL": "", "UNDERSTUDY_REDIS_URL": redis_url}
    signaling, signaling_log = running("signaling", UNDERSTUDY_PORT=str(port), **own)
    second, second_log = running("signaling-2", UNDERSTUDY_PORT=str(second_port), **own)
    worker, worker_log = running(
        "worker",
        UNDERSTUDY_SIGNALING_URL=f"ws://127.0.0.1:{port}/worker",
        UNDERSTUDY_METRICS_PORT=str(metrics_port),
        UNDERSTUDY_CAPACITY="3",
        UNDERSTUDY_DRAIN_S="1",
    )
    secret = stack["services"]["signaling"]["environment"]["UNDERSTUDY_METRICS_SECRET"]
    main, media = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}"
    async with aiohttp.ClientSession() as http:
        await until_ok(http, f"{media}/readyz", worker, worker_log)
        await until_ok(http, f"{main}/readyz", signaling, signaling_log)
        assert (await answer(http, f"{main}/metrics"))[0] == 401
        figures = await until_ok(http, f"{main}/metrics", signaling, signaling_log, secret)
        assert "understudy_signaling_workers 1.0" in figures
        assert "understudy_signaling_worker_free_places{" in figures
        # The second node knows of the worker although it registered at the first.
        other = f"http://127.0.0.1:{second_port}"
        await until_ok(http, f"{other}/readyz", second, second_log)
        figures = await until_ok(http, f"{other}/metrics", second, second_log, secret)
        assert "understudy_signaling_workers 1.0" in figures
        figures = await until_ok(http, f"{media}/metrics", worker, worker_log)
        assert "understudy_worker_capacity 3.0" in figures
        check = [sys.executable, ROOT / "deploy/healthcheck.py"]
        for url, good in ((f"{media}/healthz", True), (f"{main}/healthz", True), (f"{main}/nothing", False)):
            done = await asyncio.to_thread(subprocess.run, [*check, url], capture_output=True)
            assert (done.returncode == 0) is good

        # Without signaling the worker lives on and is not ready; told to stop, it ends by itself.
        signaling.terminate()
        assert await asyncio.to_thread(signaling.wait, 20) == 0
        async with asyncio.timeout(20):
            while (await answer(http, f"{media}/readyz"))[0] != 503:
                await asyncio.sleep(0.1)
        assert (await answer(http, f"{media}/healthz"))[0] == 200
        worker.terminate()
        assert await asyncio.to_thread(worker.wait, 20) == 0


def start_relay(program: str, file: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([program, "-c", file], stdout=output, stderr=output, cwd=file.parent)


async def test_coturn_takes_its_file_and_credentials(stack: dict[str, Any], tmp_path: Path) -> None:
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed")
    port = free_port()
    text: str = stack["configs"]["coturn"]["content"]
    assert "listening-port=3478\n" in text
    text = text.replace("listening-port=3478\n", f"listening-port={port}\n")
    file = tmp_path / "coturn.conf"
    file.write_text(text.replace("/tmp/turnserver.pid", str(tmp_path / "pid")))
    log = tmp_path / "log"
    with log.open("wb") as output:
        relay = start_relay(program, file, output)
    try:
        until = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert relay.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            await asyncio.sleep(0.05)
        secret = stack["services"]["signaling"]["environment"]["UNDERSTUDY_TURN_SECRET"]
        (server,) = TurnCredentials(urls=["turn:x"], secret=secret).ice_servers("tAda", time.time())
        await allocate(port, server.username, server.credential)
        (guess,) = TurnCredentials(urls=["turn:x"], secret="a guess").ice_servers("tAda", time.time())
        with pytest.raises(stun.TransactionFailed):
            await allocate(port, guess.username, guess.credential)
    finally:
        relay.terminate()
        relay.wait(10)
    for complaint in ("Bad configuration", "unknown", "CONFIG ERROR"):
        assert complaint not in log.read_text()
