"""``understudy bench call``: how many drivers this machine holds, and how well each is served.

Starts the real service (``understudy serve``, on a free port, with a data folder of its own) and puts
synthetic drivers into it, two to a room and in a call with each other: 1, 2, 4, 8 ... until the frame rate
falls under 20. What is measured travels the whole way: WebSocket, ICE, DTLS, RTP, decoding, inference,
encoding; only the far end's decoding and display are missing.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiohttp
import psutil

from server.bench.clip import astronaut, encode_opus, encode_vp8, one_thread, performance
from server.bench.driver import Film, SyntheticDriver
from server.bench.measure import MetricsSnapshot, ProcessTimes, percentile
from server.environment import environment_without_settings
from server.errors import UserError
from server.serve import free_port
from server.settings import Settings

ENOUGH_FPS: Final = 20.0
_FILM_FPS: Final = 30
_READY_S: Final = 60.0
_LIVE_S: Final = 30.0
_SETTLE_S: Final = 3.0


@dataclass(frozen=True)
class Row:
    """What was measured with one number of drivers.

    Attributes:
        drivers: terminals that sent a film; two to a room, in a call with each other.
        live: of these, how many got generated frames.
        fps_p50, fps_min: pictures of peers received a second: median and least over the streams. A driver
            that is alone receives its own.
        generated_fps: generated frames a second and driver.
        age_ms_p50, age_ms_p95: age of a picture's driver frame when it was handed to the encoder.
        frame_ms_p50, frame_ms_p95: decoded driver frame to generated frame, in the worker.
        lag_ms_p99: how late the worker's event loop ran.
        cpu_per_driver: CPU cores that the service used for each driver.
        cpu_total: CPU cores that the service used.
        cpu_bench: CPU cores that the synthetic drivers took on the same machine.
        live_after_s: longest time from a driver's first message to its first generated frames.
    """

    drivers: int
    live: int
    fps_p50: float
    fps_min: float
    generated_fps: float
    age_ms_p50: float
    age_ms_p95: float
    frame_ms_p50: float
    frame_ms_p95: float
    lag_ms_p99: float
    cpu_per_driver: float
    cpu_total: float
    cpu_bench: float
    live_after_s: float

    @property
    def enough(self) -> bool:
        """Every driver is served at a frame rate that passes for motion."""
        return self.live == self.drivers and min(self.fps_p50, self.generated_fps) >= ENOUGH_FPS


@dataclass(frozen=True)
class Report:
    """The whole benchmark: machine, settings, start-up time in seconds, and a row for each load."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    start_up_s: float
    rows: Sequence[Row]

    def as_json(self) -> str:
        """The report as JSON; what could not be measured is null."""
        content = asdict(self)
        for row in content["rows"]:
            row.update(
                {key: None for key, value in row.items() if isinstance(value, float) and math.isnan(value)}
            )
        return json.dumps(content, indent=2) + "\n"


@dataclass(frozen=True)
class CallBenchmark:
    """The benchmark's parameters.

    Attributes:
        settings: size, generator, fps ... of the service; address and folders are the benchmark's own.
        seconds: how long each load is measured.
        max_drivers: the most drivers tried.
        progress: told what is being done, in words, with what share of all is done (0..1).
        on_row: told each row as soon as it is measured.
    """

    settings: Settings
    seconds: float
    max_drivers: int
    progress: Callable[[str, float], None]
    on_row: Callable[[Row], None]

    async def run(self) -> Report:
        """Measure.

        Raises:
            UserError: the service did not get ready.
        """
        about = machine()
        self.progress("encoding the synthetic driver's film", 0.0)
        film = await asyncio.to_thread(make_film)
        rows: list[Row] = []
        with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
            service = _Service(self.settings, Path(folder), self.max_drivers)
            self.progress("starting the service", 0.0)
            try:
                start_up = await service.start()
                loads = _loads(self.max_drivers)
                for index, drivers in enumerate(loads):
                    self.progress(f"{drivers} driver{'s' * (drivers > 1)}", index / len(loads))
                    rows.append(await self._measure(service, film, drivers))
                    self.on_row(rows[-1])
                    if not rows[-1].enough:
                        break
            finally:
                await service.stop()
        self.progress("done", 1.0)
        return Report(about, _shown_settings(self.settings), round(start_up, 2), rows)

    async def _measure(self, service: _Service, film: Film, count: int) -> Row:
        targets = await service.targets()
        async with aiohttp.ClientSession() as http:
            drivers = [
                SyntheticDriver(
                    name=f"driver-{index}",
                    room=f"bench-{count}-{index // 2}",
                    target=targets[index % len(targets)],
                    film=film,
                    calls=index % 2 == 1,  # the second of a room: the first one is there already
                )
                for index in range(count)
            ]
            try:
                for driver in drivers:
                    await driver.start(http, service.url("ws", "/ws"))
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LIVE_S):
                        await asyncio.gather(*(driver.live.wait() for driver in drivers))
                await asyncio.sleep(_SETTLE_S)
                return await self._window(service, drivers)
            finally:
                await asyncio.gather(*(driver.stop() for driver in drivers))

    async def _window(self, service: _Service, drivers: Sequence[SyntheticDriver]) -> Row:
        own = psutil.Process()
        before, cpu, bench_cpu, began = (
            await service.metrics(),
            service.cpu(),
            own.cpu_times(),
            time.monotonic(),
        )
        for driver in drivers:
            driver.reset()
        await asyncio.sleep(self.seconds)
        took = time.monotonic() - began
        rates = _rates(drivers, took)
        cpu, bench_after = (service.cpu() - cpu) / took, own.cpu_times()
        after = await service.metrics()

        def generated(snapshot: MetricsSnapshot) -> float:
            return snapshot.counter("understudy_frames_total", stage="generated")

        def milliseconds(histogram: str, share: float) -> float:
            return 1000 * percentile(before, after, f"understudy_{histogram}_seconds", share)

        live = [driver.live_after_s for driver in drivers if driver.live_after_s is not None]
        return Row(
            drivers=len(drivers),
            live=len(live),
            fps_p50=median(rates) if rates else 0.0,
            fps_min=min(rates, default=0.0),
            generated_fps=(generated(after) - generated(before)) / took / len(drivers),
            age_ms_p50=milliseconds("frame_age", 0.5),
            age_ms_p95=milliseconds("frame_age", 0.95),
            frame_ms_p50=milliseconds("frame", 0.5),
            frame_ms_p95=milliseconds("frame", 0.95),
            lag_ms_p99=milliseconds("event_loop_lag", 0.99),
            cpu_per_driver=cpu / len(drivers),
            cpu_total=cpu,
            cpu_bench=(bench_after.user + bench_after.system - bench_cpu.user - bench_cpu.system) / took,
            live_after_s=max(live, default=math.nan),
        )


class _Service:
    """``understudy serve`` as a child process."""

    def __init__(self, settings: Settings, folder: Path, capacity: int) -> None:
        self._port = free_port()
        self._settings = settings.model_copy(
            update={
                "host": "127.0.0.1",
                "port": self._port,
                "data_dir": folder,
                "capacity": capacity,
                "log_level": "warning",
                # Of the service that these settings are for, and that may run beside this: its proxy, which
                # would want a join key, and its worker's port, whose figures would be taken for this one's.
                "forwarded_header": None,
                "metrics_port": None,
            }
        )
        self._process: asyncio.subprocess.Process | None = None
        self._times: ProcessTimes | None = None

    def url(self, scheme: str, path: str) -> str:
        return f"{scheme}://127.0.0.1:{self._port}{path}"

    async def start(self) -> float:
        """Start it and wait until a call could begin; returns the seconds that took."""
        began = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server.cli", "serve"),
            env={**environment_without_settings(), **self._settings.environment()},
            stdout=asyncio.subprocess.DEVNULL,
        )
        self._times = ProcessTimes(self._process.pid)
        try:
            async with asyncio.timeout(_READY_S), aiohttp.ClientSession() as http:
                while self._process.returncode is None:
                    with suppress(aiohttp.ClientError):
                        async with http.get(self.url("http", "/readyz")) as response:
                            if response.status == 200:
                                return time.monotonic() - began
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.stop()
            raise UserError(f"The service was not ready within {_READY_S:.0f} s.") from None
        raise UserError(f"The service ended at its start, with code {self._process.returncode}.")

    async def stop(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def cpu(self) -> float:
        assert self._times is not None
        return self._times.seconds()

    async def metrics(self) -> MetricsSnapshot:
        async with aiohttp.ClientSession() as http, http.get(self.url("http", "/metrics")) as response:
            response.raise_for_status()
            return MetricsSnapshot.parse(await response.text())

    async def targets(self) -> list[str]:
        async with aiohttp.ClientSession() as http, http.get(self.url("http", "/api/targets")) as response:
            response.raise_for_status()
            return [target["id"] for target in (await response.json())["targets"]]


def make_film() -> Film:
    """Animate, then encode, the synthetic driver's film."""
    from models.mesh_warp import MeshWarpGenerator

    image, landmarks = astronaut()
    with one_thread():
        frames = performance(MeshWarpGenerator(size=512), image, landmarks, _FILM_FPS)
        return Film(encode_vp8(frames, _FILM_FPS), encode_opus(), _FILM_FPS)


def _rates(drivers: Sequence[SyntheticDriver], seconds: float) -> list[float]:
    """Pictures a second of every stream of a peer; where there is none, of one's own."""
    streams = [(driver.terminal, stream) for driver in drivers for stream in driver.streams.values()]
    peers = [stream for terminal, stream in streams if stream.of != terminal]
    return [stream.frames / seconds for stream in peers or [stream for _, stream in streams]]


def _loads(most: int) -> list[int]:
    loads = [1]
    while loads[-1] * 2 <= most:
        loads.append(loads[-1] * 2)
    return loads


def machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "load_before": round(os.getloadavg()[0], 2),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _shown_settings(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(include={"generator", "size", "fps", "mark_enabled"})
