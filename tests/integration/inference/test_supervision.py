"""The inference process and its stand-by die, hang and start in every way; the calls go on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from server.inference.client import InferenceClient
from server.inference.host import InferenceUnavailable
from server.inference.slot import Slot
from server.targets.store import TargetStore
from tests.integration.inference.trial import NO_FACE, ROOT, Trial, rgb, state_is

pytestmark = pytest.mark.asyncio(loop_scope="session")

PARENT = """
import asyncio, sys, time
from pathlib import Path
from server.inference.client import InferenceClient
from server.targets.store import TargetStore

async def main():
    folder = Path(sys.argv[1])
    client = InferenceClient(TargetStore(folder).load, folder)
    await client.start()
    while client.standby_pid is None:
        await asyncio.sleep(0.05)
    print(client.pid, client.standby_pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def until(condition: Callable[[], bool], limit: float = 30) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        await asyncio.sleep(0.02)


def kill(pid: int | None, number: int = signal.SIGKILL) -> None:
    assert pid is not None
    os.kill(pid, number)


async def test_the_one_that_stands_by_takes_over_with_drivers_targets_and_cameras(trial: Trial) -> None:
    client = trial.client
    client.open("e")
    client.set_target("e", trial.bright)
    client.set_camera("e", False)
    await trial.live()
    await until(lambda: client.standby_pid is not None)
    standby = client.standby_pid
    kill(client.pid)
    await trial.feed(10, until=state_is("restarting"))
    shown = await trial.live()
    assert trial.looks_like(shown) == trial.green
    assert client.pid == standby
    assert client.latest("e").state == "camera_off"
    client.set_camera("e", True)
    assert trial.looks_like(await trial.live("e")) == trial.bright
    await until(lambda: client.standby_pid not in (None, standby))


async def test_both_killed_at_once_and_again_the_call_goes_on(trial: Trial) -> None:
    client, restarts = trial.client, trial.client.restarts
    await trial.live()
    await until(lambda: client.standby_pid is not None)
    for pid in (client.pid, client.standby_pid):
        kill(pid)
    await until(lambda: client.latest("d").state == "restarting")
    await trial.live(seconds=40)
    kill(client.pid)
    await trial.feed(5, until=state_is("restarting"))
    await trial.live(seconds=40)
    assert client.restarts >= restarts + 2


async def test_a_driver_that_cannot_be_connected_at_once_is_later(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, fails = Slot.connect, iter([True] * 5)

    def connecting(slot: Slot, *arguments: Any) -> None:
        if next(fails, False):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        connect(slot, *arguments)

    await trial.live()
    await until(lambda: trial.client.standby_pid is not None)
    monkeypatch.setattr(Slot, "connect", connecting)
    kill(trial.client.pid)
    await trial.feed(10, until=state_is("restarting"))
    await trial.live()
    assert not next(fails, False)


async def test_a_stand_by_that_dies_is_replaced_and_nobody_notices(trial: Trial) -> None:
    client, restarts = trial.client, trial.client.restarts
    await trial.live()
    await until(lambda: client.standby_pid is not None)
    serving, standby = client.pid, client.standby_pid
    kill(standby)
    end = time.monotonic() + 40
    while client.standby_pid in (None, standby) and time.monotonic() < end:
        await trial.feed(0.2)
    assert client.standby_pid not in (None, standby)
    assert client.pid == serving
    assert client.restarts == restarts


async def test_a_process_that_is_stopped_is_replaced(trial: Trial) -> None:
    client = trial.client
    await trial.live()
    before = client.pid
    kill(before, signal.SIGSTOP)
    await trial.feed(15, until=state_is("restarting"))
    await trial.live(seconds=40)
    assert client.pid != before
    assert before is not None
    await until(lambda: not psutil.pid_exists(before), 5)


async def test_ctrl_c_is_left_to_the_parent(trial: Trial) -> None:
    await trial.live()
    before, restarts = trial.client.pid, trial.client.restarts
    kill(before, signal.SIGINT)
    await trial.feed(1.0)
    assert trial.client.pid == before
    assert trial.client.restarts == restarts


async def test_a_target_that_kills_the_process_harms_others_only_while_it_is_used(trial: Trial) -> None:
    client, restarts = trial.client, trial.client.restarts
    await trial.live()
    trial.fault.write_text("exit on bright")
    client.open("e")
    client.set_target("e", trial.bright)
    await trial.feed(30, driver="e", until=lambda _: client.restarts >= restarts + 2)
    assert client.restarts >= restarts + 2
    client.release("e")
    await trial.live(seconds=60)


async def test_a_changed_target_leaves_no_gap(trial: Trial) -> None:
    """Each picture is a generated one, of the former target and then of the new one, never mixed."""

    async def change(target: str) -> bool:
        """Whether there was no gap; on a busy machine there may be one for other reasons."""
        former = trial.looks_like(await trial.live())
        trial.client.set_target("d", target)
        shown = []
        while len(shown) < 5 or {trial.looks_like(one) for one in shown[-5:]} != {target}:
            shown.append(await trial.feed(0.001))
            assert len(shown) < 250
        seen = [trial.looks_like(one) for one in shown]
        assert set(seen[: seen.index(target)]) <= {former}
        assert set(seen[seen.index(target) :]) == {target}
        return all(one.generated for one in shown)

    smooth = 0
    for _ in range(3):
        for target in (trial.bright, "astronaut", trial.green):
            smooth += await change(target)
        if smooth >= 3:
            return
    pytest.fail(f"only {smooth} of 9 changes were without a gap")


async def test_drivers_share_the_process_fairly(trial: Trial) -> None:
    trial.client.open("e")
    trial.client.set_target("e", trial.bright)
    await trial.live()
    await trial.live("e")
    for _ in range(30):
        await asyncio.gather(trial.feed(0.1, driver="e"), trial.feed(0.1, driver="d"))
    figures = [trial.client.stats(driver) for driver in "de"]
    assert all(figures)
    fps = [stats.fps for stats in figures if stats is not None]
    assert min(fps) > 0.6 * max(fps)
    assert trial.looks_like(trial.client.latest("d")) == trial.green
    assert trial.looks_like(trial.client.latest("e")) == trial.bright


async def test_faces_of_two_drivers_do_not_mix(trial: Trial) -> None:
    """One looks into the camera, the other one is not there: only the first is generated."""
    trial.client.open("e")
    trial.client.set_target("e", trial.bright)
    await trial.live()
    for _ in range(10):
        await asyncio.gather(trial.feed(0.1, driver="d"), trial.feed(0.1, NO_FACE, driver="e"))
    assert trial.client.latest("d").generated
    assert trial.client.latest("e").state == "no_face"
    assert np.abs(rgb(trial.client.latest("e")).astype(int) - rgb(trial.client.latest("d"))).mean() > 10


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
async def test_drivers_that_come_and_go_leave_nothing_behind(trial: Trial) -> None:
    client = trial.client
    await trial.live()
    await until(lambda: client.standby_pid is not None)
    processes = [psutil.Process(), psutil.Process(client.pid)]

    def descriptors() -> list[int]:
        return [process.num_fds() for process in processes]

    for _ in range(3):  # whatever is opened once is open now
        client.open("e")
        client.set_target("e", trial.bright)
        await trial.live("e")
        client.release("e")
    await trial.feed(1)
    before = descriptors()
    for _ in range(25):
        client.open("e")
        client.set_target("e", trial.bright)
        await trial.feed(0.1, driver="e")
        client.release("e")
    await until(lambda: all(now <= then + 2 for now, then in zip(descriptors(), before, strict=True)), 10)


@pytest.mark.parametrize(
    ("generator", "reason"),
    [
        ("tests.integration.inference.faults:broken", "no weights"),
        ("tests.integration.inference.faults:absent", "is no generator"),
        ("nowhere:generator", "is no generator"),
    ],
)
async def test_a_process_that_cannot_start_says_why(
    generator: str, reason: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    client = InferenceClient(TargetStore(data_dir).load, data_dir, generator=generator)
    with pytest.raises(InferenceUnavailable, match=reason):
        await client.start()
    client.open("d")
    client.set_target("d", "astronaut")
    assert client.latest("d").state == "restarting"
    await client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /dev/shm")
async def test_nothing_is_left_of_a_parent_that_was_killed(data_dir: Path) -> None:
    before = sorted(os.listdir("/dev/shm"))
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
        [sys.executable, "-c", PARENT, str(data_dir)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in (await asyncio.to_thread(parent.stdout.readline)).split()]
        assert len(pids) == 2
        # One of them hangs: it must end all the same.
        os.kill(pids[0], signal.SIGSTOP)
        parent.kill()
        parent.wait()

    def running() -> bool:
        found = []
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
        return any(found)

    os.kill(pids[0], signal.SIGCONT)
    await until(lambda: not running(), 10)
    assert sorted(os.listdir("/dev/shm")) == before
