"""Child processes: started again when they die, gone when their parent is, however it went."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from server.supervision import SupervisedProcess

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
PARENT = """
import asyncio, os, sys
from server.supervision import SupervisedProcess
child = [sys.executable, "-c", sys.argv[1]]
asyncio.run(SupervisedProcess("child", child, os.environ).run())
"""
CHILD = """
import subprocess, sys, time
from pathlib import Path
from server.supervision import die_with_parent
die_with_parent(grace=0.3)
{prepare}
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
import os
Path({file!r}).write_text(f"{{os.getpid()}} {{grandchild.pid}}")
time.sleep(60)
"""


async def eventually(condition: object, within: float = 20.0) -> None:
    until = time.monotonic() + within
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "waited in vain"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def test_a_dead_child_is_started_again() -> None:
    child = SupervisedProcess("child", ["sleep", "60"], os.environ, first_pause=0.01)
    running = asyncio.create_task(child.run())
    await eventually(lambda: child.pid)
    first = child.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: child.pid not in {None, first})
    assert child.restarts == 1
    running.cancel()
    second = child.pid
    await child.stop(deadline=5)
    assert second
    assert not alive(second)


async def test_pauses_grow_while_the_child_keeps_dying() -> None:
    child = SupervisedProcess("child", ["false"], os.environ, first_pause=0.05, longest_pause=0.4)
    began = time.monotonic()
    running = asyncio.create_task(child.run())
    await eventually(lambda: child.restarts >= 4)
    assert time.monotonic() - began >= 0.05 + 0.1 + 0.2 + 0.4
    running.cancel()


@pytest.mark.parametrize(
    "error", [BlockingIOError(errno.EAGAIN, "no process"), RuntimeError("can't start new thread")]
)
async def test_a_child_that_cannot_be_started_is_started_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    start, fails = asyncio.create_subprocess_exec, iter([True] * 3)

    async def starting(*command: str, **options: Any) -> asyncio.subprocess.Process:
        if next(fails, False):
            raise error
        return await start(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    child = SupervisedProcess("child", ["sleep", "60"], os.environ, first_pause=0.01)
    running = asyncio.create_task(child.run())
    await eventually(lambda: child.pid or running.done())
    assert not running.done()
    assert caplog.text.count(f"cannot be started ({error})") == 3
    running.cancel()
    await child.stop(deadline=5)


async def test_a_child_that_does_not_heed_is_killed_after_the_deadline() -> None:
    child = SupervisedProcess("child", [sys.executable, "-c", STUBBORN], os.environ)
    running = asyncio.create_task(child.run())
    await eventually(lambda: child.pid)
    await asyncio.sleep(0.5)  # let it install its handler
    running.cancel()
    pid = child.pid
    assert pid
    began = time.monotonic()
    await child.stop(deadline=0.3)
    assert time.monotonic() - began < 5
    assert not alive(pid)


async def assert_family_dies_with(tmp_path: Path, prepare: str) -> None:
    file = tmp_path / "pids"
    code = CHILD.format(file=str(file), prepare=prepare)
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, code)
    try:
        await eventually(lambda: file.exists() and len(file.read_text().split()) == 2)
        family = [int(pid) for pid in file.read_text().split()]
        assert all(alive(pid) for pid in family)
    finally:
        parent.kill()
        await parent.wait()
    await eventually(lambda: not any(alive(pid) for pid in family))


async def test_child_and_grandchild_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    await assert_family_dies_with(tmp_path, "")


async def test_a_child_that_ignores_the_signal_dies_with_its_parent_too(tmp_path: Path) -> None:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    await assert_family_dies_with(tmp_path, ignore)


def test_ctrl_c_is_left_to_the_parent() -> None:
    code = (
        "import time, sys; from server.supervision import die_with_parent; die_with_parent();"
        "print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout
    assert child.stdout.readline() == b"up\n"
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert child.poll() is None
    child.kill()
    child.communicate()
