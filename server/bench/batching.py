"""``understudy bench batching``: the inference process by itself under 1, 2, 4 ... 64 synthetic drivers.

No network, no codec, no browser: drivers' frames go through the real mailboxes into a real inference
process, at cameras' pace, and the pictures come back. What is looked at is how calls share it: new frames of
each driver, how old they are, how many are generated together, and what a frame costs.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt
import psutil

from server import metrics
from server.bench.measure import MetricsSnapshot, ProcessTimes
from server.bench.networks import Name, dotted
from server.inference.client import InferenceClient
from server.targets.store import TargetStore

__all__ = ["Batching", "BatchingRow", "Moment"]

_LIVE_S: Final = 60.0
_SETTLE_S: Final = 1.0
#: A picture this late is not shown in calls; here it is to be counted.
_NEVER_LATE_S: Final = 60.0


@dataclass(frozen=True)
class Moment:
    """One second of a longer run.

    Attributes:
        at_s: its middle, since the measurement began.
        fps: new frames a driver.
        age_ms: median age of a new frame when it came.
        cpu: cores of the inference process.
    """

    at_s: float
    fps: float
    age_ms: float
    cpu: float


@dataclass(frozen=True)
class BatchingRow:
    """What was measured with one number of drivers.

    Attributes:
        drivers: that send 25 (or ``fps``) frames a second.
        live: of these, how many ever got a new frame.
        fps_mean, fps_min, fps_max: new frames a second over the drivers; equal where all lose the same share.
        age_ms_p50, age_ms_p95, age_ms_max: age of the driver's frame when its picture came.
        gap_ms_max: the longest time that a driver waited from one new picture to the next.
        own_ms: mean time of landmarks and of the batch's generation.
        waiting_ms: mean of the rest of the age: waiting for its turn and for company, conversions, marks,
            pipes.
        batch: mean frames generated together.
        cpu: cores of the inference process.
        cpu_ms: its processor time for each new frame.
        feeder_cpu: cores that the synthetic drivers took on the same machine.
        overtaken: share of the frames sent that a newer one replaced before they were looked at.
        moments: the same second by second.
    """

    drivers: int
    live: int
    fps_mean: float
    fps_min: float
    fps_max: float
    age_ms_p50: float
    age_ms_p95: float
    age_ms_max: float
    gap_ms_max: float
    own_ms: float
    waiting_ms: float
    batch: float
    cpu: float
    cpu_ms: float
    feeder_cpu: float
    overtaken: float
    moments: Sequence[Moment] = field(default_factory=list)


@dataclass
class _Arrivals:
    """New pictures of one driver: when each came, and how old its frame was then (seconds)."""

    came: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    last: float = -1.0


@dataclass(frozen=True)
class Batching:
    """The benchmark's parameters.

    Attributes:
        generator: which one.
        size: of pictures.
        loads: numbers of drivers, each measured by itself.
        seconds: how long each is measured.
        fps: of the synthetic cameras, whose phases are random but the same in every run.
        progress: told what is being done, and what share of all is done.
    """

    generator: Name
    size: int
    loads: Sequence[int]
    seconds: float
    fps: float = 25.0
    progress: Callable[[str, float], None] = lambda doing, share: None

    async def run(self) -> list[BatchingRow]:
        """Measure each load with a fresh inference process."""
        from server.bench.stages import driver_film

        self.progress("making the synthetic driver's film", 0.0)
        film = await asyncio.to_thread(driver_film)
        rows = []
        for index, drivers in enumerate(self.loads):
            self.progress(f"{drivers} driver{'s' * (drivers > 1)}", index / len(self.loads))
            rows.append(await self._load(film, drivers))
        self.progress("done", 1.0)
        return rows

    async def _load(self, film: Sequence[npt.NDArray[np.uint8]], count: int) -> BatchingRow:
        arrivals: dict[str, _Arrivals] = defaultdict(_Arrivals)

        def came(driver: str) -> None:
            picture = client.latest(driver)
            if picture.driver_time is None:
                return
            record = arrivals[driver]
            if picture.driver_time != record.last:
                record.last = picture.driver_time
                record.came.append(time.monotonic())
                record.ages.append(record.came[-1] - picture.driver_time)

        with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
            store = TargetStore(Path(folder))
            client = InferenceClient(
                store.load,
                Path(folder),
                size=self.size,
                capacity=count,
                generator=dotted(self.generator),
                fps=round(self.fps),
                late_s=_NEVER_LATE_S,
                standby=False,
                on_picture=came,
            )
            await client.start()
            sending: list[asyncio.Task[None]] = []
            try:
                names = [f"driver-{index}" for index in range(count)]
                targets = itertools.cycle(target.id for target in store.built_ins())
                chance = random.Random(count)
                for name in names:
                    client.open(name)
                    client.set_target(name, next(targets))
                    client.set_camera(name, True)
                    start = chance.randrange(len(film))
                    sending.append(
                        asyncio.create_task(self._send(client, name, film, start, chance.random()))
                    )
                until = time.monotonic() + _LIVE_S
                while len(arrivals) < count and time.monotonic() < until:  # noqa: ASYNC110 - progress of many
                    await asyncio.sleep(0.1)
                await asyncio.sleep(_SETTLE_S)
                return await self._window(client, names, arrivals)
            finally:
                for task in sending:
                    task.cancel()
                await asyncio.gather(*sending, return_exceptions=True)
                await client.close()

    async def _send(
        self,
        client: InferenceClient,
        name: str,
        film: Sequence[npt.NDArray[np.uint8]],
        start: int,
        phase: float,
    ) -> None:
        """A camera: a frame at each tick; a tick that was missed is left out, as cameras do."""
        began = time.monotonic() + phase / self.fps
        tick = 0
        while True:
            await asyncio.sleep(max(0.0, began + tick / self.fps - time.monotonic()))
            frame = av.VideoFrame.from_ndarray(film[(start + tick) % len(film)], format="yuv420p")
            client.submit(name, frame, time.monotonic())
            tick = max(tick + 1, int((time.monotonic() - began) * self.fps))

    async def _window(
        self, client: InferenceClient, names: Sequence[str], arrivals: dict[str, _Arrivals]
    ) -> BatchingRow:
        assert client.pid is not None
        process, own = ProcessTimes(client.pid), psutil.Process()
        live = len(arrivals)
        for record in arrivals.values():
            record.came.clear()
            record.ages.clear()
        began, cpu, feeder = time.monotonic(), process.seconds(), sum(own.cpu_times()[:2])
        scrape = _scrape()
        marks = [(began, cpu)]
        while marks[-1][0] - began < self.seconds:
            await asyncio.sleep(min(1.0, max(0.05, began + self.seconds - time.monotonic())))
            marks.append((time.monotonic(), process.seconds()))
        took = marks[-1][0] - began
        feeder_cpu = (sum(own.cpu_times()[:2]) - feeder) / took
        after = _scrape()
        spent = marks[-1][1] - cpu
        return _row(
            [arrivals[name] for name in names],
            marks,
            live=live,
            own_ms=_mean_ms(scrape, after, "landmark") + _mean_ms(scrape, after, "generate"),
            batch=_mean(scrape, after, "understudy_batch_frames"),
            cpu=spent / took,
            feeder_cpu=feeder_cpu,
            overtaken=_dropped(scrape, after, "overtaken") / (len(names) * self.fps * took),
        )


def _row(
    records: Sequence[_Arrivals],
    marks: Sequence[tuple[float, float]],
    *,
    live: int,
    own_ms: float,
    batch: float,
    cpu: float,
    feeder_cpu: float,
    overtaken: float,
) -> BatchingRow:
    began, ended = marks[0][0], marks[-1][0]
    took = ended - began
    rates = [len(record.came) / took for record in records]
    ages = 1e3 * np.array([age for record in records for age in record.ages] or [np.nan])
    gaps = [np.diff([began, *record.came, ended]).max() for record in records]
    moments = []
    for (start, spent), (end, later) in itertools.pairwise(marks):
        during = [
            age
            for record in records
            for at, age in zip(record.came, record.ages, strict=True)
            if start <= at < end
        ]
        moments.append(
            Moment(
                (start + end) / 2 - began,
                len(during) / (end - start) / len(records),
                1e3 * float(np.median(during)) if during else float("nan"),
                (later - spent) / (end - start),
            )
        )
    new = sum(len(record.came) for record in records)
    return BatchingRow(
        drivers=len(records),
        live=live,
        fps_mean=float(np.mean(rates)),
        fps_min=min(rates),
        fps_max=max(rates),
        age_ms_p50=float(np.percentile(ages, 50)),
        age_ms_p95=float(np.percentile(ages, 95)),
        age_ms_max=float(ages.max()),
        gap_ms_max=1e3 * float(max(gaps)),
        own_ms=own_ms,
        waiting_ms=float(ages.mean()) - own_ms,
        batch=batch,
        cpu=cpu,
        cpu_ms=1e3 * cpu * took / new if new else float("nan"),
        feeder_cpu=feeder_cpu,
        overtaken=overtaken,
        moments=moments,
    )


def _scrape() -> MetricsSnapshot:
    return MetricsSnapshot.parse(metrics.exposition().decode())


def _mean(before: MetricsSnapshot, after: MetricsSnapshot, histogram: str) -> float:
    count = after.counter(f"{histogram}_count") - before.counter(f"{histogram}_count")
    total = after.counter(f"{histogram}_sum") - before.counter(f"{histogram}_sum")
    return total / count if count else float("nan")


def _mean_ms(before: MetricsSnapshot, after: MetricsSnapshot, stage: str) -> float:
    return 1e3 * _mean(before, after, f"understudy_{stage}_seconds")


def _dropped(before: MetricsSnapshot, after: MetricsSnapshot, reason: str) -> float:
    name, labels = "understudy_frames_dropped_total", {"stage": "inference", "reason": reason}
    return after.counter(name, **labels) - before.counter(name, **labels)
