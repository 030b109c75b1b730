"""What cannot be started now is started later: one failed fork does not end the care for the processes."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest

from server.inference import host as host_module
from server.inference.host import InferenceHost, InferenceUnavailable
from server.inference.messages import Channel, InferenceSettings
from server.provenance import MarkSettings

PROCESS = """
import socket, sys, time
from server.inference.messages import Alive, Channel, Ready
channel = Channel(socket.socket(fileno=int(sys.argv[-1])))
channel.send(Ready("none"))
while channel.send(Alive()):
    time.sleep(0.1)
"""


async def until(condition: Callable[[], bool], limit: float = 20) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        await asyncio.sleep(0.02)


class Shortage:
    """Makes starts of processes fail, as often as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, of: str) -> None:
        self.left = 0
        owner, name, code = {
            "processes": (subprocess, "Popen", errno.EAGAIN),
            "files": (Channel, "pair", errno.EMFILE),
        }[of]
        real = getattr(owner, name)

        def failing(*arguments: Any, **options: Any) -> Any:
            if self.left:
                self.left -= 1
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, failing)


@pytest.fixture(params=["processes", "files"])
def shortage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shortage:
    return Shortage(monkeypatch, request.param)


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InferenceHost]:
    monkeypatch.setattr(host_module, "PROCESS", ("-c", PROCESS))
    settings = InferenceSettings("/nowhere", "none", 256, MarkSettings())
    host = InferenceHost(settings, on_up=lambda: None, on_down=lambda: None)
    yield host
    await host.close()


async def test_a_shortage_at_the_start_is_waited_for(host: InferenceHost, shortage: Shortage) -> None:
    shortage.left = 2
    await host.start()
    assert host.ready


async def test_a_lasting_shortage_at_the_start_is_told(host: InferenceHost, shortage: Shortage) -> None:
    shortage.left = 1000
    with pytest.raises(InferenceUnavailable, match="cannot be started"):
        await asyncio.wait_for(host.start(), 20)


async def test_after_a_shortage_all_is_as_before(host: InferenceHost, shortage: Shortage) -> None:
    await host.start()
    await until(lambda: host.standby_pid is not None)
    first, descriptors = host.standby_pid, psutil.Process().num_fds()
    shortage.left = 3
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: shortage.left == 0)
    assert psutil.Process().num_fds() < descriptors, "nothing is left of what could not be started"
    await until(lambda: host.standby_pid not in (None, first))
    serving, second = host.pid, host.standby_pid
    assert serving is not None
    os.kill(serving, signal.SIGKILL)
    await until(lambda: host.pid == second)
