"""Calls begin and end again and again in the real service, and nothing piles up.

``SOAK_S`` sets how many seconds it lasts (``docs/operating.md`` tells of the long run).
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import pytest
from scipy.stats import theilslopes

from server.bench.clip import encode_opus
from server.bench.driver import Film, SyntheticDriver
from tests.e2e.service import Service
from tests.faults.test_cameras import coded, face
from tests.integration.media.harness import GENERATED, Call, shows, until

SECONDS = float(os.environ.get("SOAK_S", "30"))
#: So much longer calls come and go while memory seems to grow: an allocator's ups and downs (in inference of
#: 20 MB, where it computes the network) level out, what is really kept goes on piling up.
DOUBT_S = 90.0
#: Share of the time in which memory may grow as it likes: caches, the allocator's reserve.
WARM_UP = 0.5
#: Figures of /metrics that are 0 while nobody is there.
HOLDS = ("understudy_signaling_terminals", "understudy_signaling_calls{", "understudy_media_sessions")
#: Calls at once.
AT_ONCE = 3
#: MB a minute, of the slope's lower confidence bound, and what an allocator may take or keep at one time: one
#: such step was 7 MB in the worker, 14 in inference, with nothing but level ground after it for two minutes.
MOST_GROWTH, ALLOCATOR_STEP = 1.0, 8.0


@dataclass
class Watch:
    """What each process of a service holds, sampled while no call is on."""

    service: Service
    times: list[float] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    handles: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    segments: list[int] = field(default_factory=list)
    most_segments: int = 0

    def processes(self) -> dict[str, psutil.Process]:
        inference = self.service.inference()
        named = {"main": self.service.family()[0], "worker": self.service.worker()}
        return named | {f"inference {index}": process for index, process in enumerate(inference)}

    def sample(self) -> None:
        self.times.append(time.monotonic())
        held = 0
        for name, process in self.processes().items():
            self.memory[name].append(process.memory_full_info().uss / 1e6)
            self.handles[name].append((process.num_fds(), process.num_threads()))
            held += shared_memory(process.pid)
        self.segments.append(held)

    def look(self) -> None:
        """Count shared memory while a call is on: what the samples' zeros are worth."""
        held = sum(shared_memory(process.pid) for process in self.processes().values())
        self.most_segments = max(self.most_segments, held)

    def growth(self, name: str) -> tuple[float, float]:
        """Slope of memory after warm-up, MB a minute: the median of all pairs', and its lower bound."""
        first = int(len(self.times) * WARM_UP)
        minutes = (np.array(self.times[first:]) - self.times[0]) / 60
        slope, _, low, _ = theilslopes(self.memory[name][first:], minutes, 0.9)
        return float(slope), float(low)

    def doubts(self, lasted: float) -> bool:
        """Whether a process seems to grow and has not been watched for long enough to say so."""
        return lasted < SECONDS + DOUBT_S and any(self.piles_up(name) for name in self.memory)

    def piles_up(self, name: str) -> bool:
        """Whether a process grew by more than an allocator's step and what is allowed for the time."""
        minutes = (self.times[-1] - self.times[int(len(self.times) * WARM_UP)]) / 60
        return self.growth(name)[1] * minutes > ALLOCATOR_STEP + MOST_GROWTH * minutes


def shared_memory(pid: int) -> int:
    """Shared-memory mappings of a process."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sum(1 for line in maps if "/dev/shm/" in line or "memfd:" in line)


async def one_call(
    service: Service, film: Film, targets: list[str], room: str, meanwhile: Callable[[], None]
) -> None:
    """Two meet, see each other's generated pictures, and leave."""
    drivers = [
        SyntheticDriver(
            name=f"{room}-{k}", room=room, target=targets[k % len(targets)], film=film, calls=k == 1
        )
        for k in range(2)
    ]
    async with aiohttp.ClientSession() as http:
        try:
            for driver in drivers:
                await driver.start(http, f"ws://127.0.0.1:{service.port}/ws")
            async with asyncio.timeout(30):
                for driver in drivers:
                    await driver.live.wait()
                    while not [
                        s for s in driver.streams.values() if s.of != driver.terminal and s.frames > 5
                    ]:
                        await asyncio.sleep(0.05)
            meanwhile()
        finally:
            await asyncio.gather(*(driver.stop() for driver in drivers))
        assert not [error for driver in drivers for error in driver.errors]


@pytest.mark.timeout(SECONDS + DOUBT_S + 120)
async def test_calls_come_and_go_and_nothing_stays(tmp_path: Path) -> None:
    """Found at first: 143 MB a minute in the worker (encoders kept until the next collection of garbage),
    56 in inference (arenas). Now, 186 calls in 110 s: inference level at 334 to 350 MB (with the network, 216
    calls in 120 s: 435 to 467, up and down), the worker at 170 with one step to 177, main at +0.9 MB a minute
    (11 kB a call). Descriptors, threads and shared memory are back after every call. In 30 s steps hide what
    is smaller: ``SOAK_S=3600`` asks for 1 MB a minute.
    """
    service = Service(
        tmp_path, UNDERSTUDY_LOG_LEVEL="warning", UNDERSTUDY_SIZE="256", UNDERSTUDY_CAPACITY="24"
    )
    service.start()
    try:
        await asyncio.to_thread(service.wait_until_ready)
        film = Film(coded(face, 320, 240, 15), encode_opus(), 15)
        targets = [target["id"] for target in service.get("/api/targets")["targets"]][:4]
        watch, calls, began = Watch(service), 0, time.monotonic()
        while (lasted := time.monotonic() - began) < SECONDS or calls < 24 or watch.doubts(lasted):
            rooms = [f"soak-{calls + k}" for k in range(AT_ONCE)]
            async with asyncio.TaskGroup() as group:  # if one fails the others are ended too
                for room in rooms:
                    group.create_task(one_call(service, film, targets, room, watch.look))
            calls += AT_ONCE
            await idle(service)
            watch.sample()
        report = {
            "calls": calls,
            "seconds": round(time.monotonic() - began),
            "growth_mb_per_minute": {name: round(watch.growth(name)[0], 2) for name in watch.memory},
            "memory_mb": {name: round(values[-1]) for name, values in watch.memory.items()},
            "handles": {name: (values[2], values[-1]) for name, values in watch.handles.items()},
            "segments": [watch.most_segments, watch.segments[-1]],
        }
        print(json.dumps(report))
        if os.environ.get("FAULTS_REPORT"):
            print({name: [round(value, 1) for value in values] for name, values in watch.memory.items()})
        for name in watch.memory:
            assert not watch.piles_up(name), report
            for before, after in zip(watch.handles[name][2], watch.handles[name][-1], strict=True):
                assert after <= before + 2, report  # descriptors, threads
        assert watch.most_segments > 0
        assert watch.segments[-1] == 0, report
    finally:
        service.stop()


async def idle(service: Service) -> None:
    """Wait until the service holds no terminal, call or media session any more."""
    until, held = time.monotonic() + 20, ["nothing was answered"]
    while time.monotonic() < until:
        with suppress(OSError):
            text = (await asyncio.to_thread(service.read, "/metrics")).decode()
            held = [line for line in text.splitlines() if line.startswith(HOLDS)]
            if held and all(line.endswith(" 0.0") for line in held):
                return
        await asyncio.sleep(0.1)
    raise AssertionError(f"still held: {held}\n{service.log.read_text()}")


async def test_tasks_and_threads_are_back_at_the_start() -> None:
    """Eight calls in this process, with nothing between the test and the media service's own tasks."""

    def held() -> tuple[int, int, int]:
        gc.collect()
        return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), psutil.Process().num_threads()

    async def one() -> None:
        call = Call()
        call.announce("alice", viewers=["bob"])
        call.announce("bob", viewers=["alice"])
        await call.publish("alice")
        viewer = await call.subscribe("bob", "alice")
        await until(lambda: shows(viewer, GENERATED))
        await call.close()

    await one()
    await asyncio.sleep(0.2)
    before = held()
    for _ in range(8):
        await one()
    await until(lambda: all(now <= then + 1 for now, then in zip(held(), before, strict=True)))
