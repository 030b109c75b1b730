"""The benchmark's figures: percentiles of histograms, CPU time of a process tree, pace of the sent film."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from server.bench.call import Report, Row, _rates
from server.bench.driver import PacketTrack, ReceivedStream, SyntheticDriver
from server.bench.measure import MetricsSnapshot, ProcessTimes, percentile
from server.bench.report import summary_of, table_of


def test_percentile_is_of_what_came_between_two_scrapes() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("took_seconds", "", buckets=(1, 2, 3, 4), registry=registry)
    for _ in range(100):
        histogram.observe(3.5)  # before the window
    before = MetricsSnapshot.parse(generate_latest(registry).decode())
    for value in (0.5, 1.5, 1.5, 2.5):
        histogram.observe(value)
    after = MetricsSnapshot.parse(generate_latest(registry).decode())
    assert percentile(before, after, "took_seconds", 0.25) == pytest.approx(1.0)
    assert percentile(before, after, "took_seconds", 0.5) == pytest.approx(1.5)
    assert percentile(before, after, "took_seconds", 1.0) == pytest.approx(3.0)
    assert math.isnan(percentile(after, after, "took_seconds", 0.5))


def test_percentile_beyond_the_last_bound_is_that_bound() -> None:
    registry = CollectorRegistry()
    empty = MetricsSnapshot({})
    Histogram("took_seconds", "", buckets=(1, 2), registry=registry).observe(50)
    assert (
        percentile(empty, MetricsSnapshot.parse(generate_latest(registry).decode()), "took_seconds", 0.5) == 2
    )


def test_cpu_of_a_tree_counts_children_that_have_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    parent = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}]); print(); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    times = ProcessTimes(process.pid)
    assert process.stdout
    until = time.monotonic() + 30
    while times.seconds() < 0.3 and time.monotonic() < until:
        time.sleep(0.02)
    process.stdout.readline()  # the child is gone
    assert times.seconds() >= 0.3
    process.communicate(b"\n")


async def test_film_is_sent_in_a_loop_with_rising_timestamps() -> None:
    track = PacketTrack("video", [b"key", b"delta"], rate=200)
    began = asyncio.get_running_loop().time()
    packets = [await track.recv() for _ in range(5)]
    assert asyncio.get_running_loop().time() - began >= 4 / 200
    assert [bytes(packet) for packet in packets] == [b"key", b"delta", b"key", b"delta", b"key"]
    assert [packet.pts for packet in packets] == [0, 450, 900, 1350, 1800]


def row(drivers: int, fps: float, live: int | None = None) -> Row:
    live = drivers if live is None else live
    return Row(drivers, live, fps, fps, fps, 20, math.nan, 8, 11, 1, 0.5, 1.0, 0.1, 0.9)


def test_report_says_how_many_drivers_were_held() -> None:
    report = Report(
        {"cpus": 2, "processor": "some", "load_before": 0.1},
        {"generator": "mesh-warp", "size": 256},
        2.5,
        [row(1, 30), row(2, 25), row(4, 19)],
    )
    assert summary_of(report).startswith("2 drivers at 20 frames a second or more on 2 CPUs")
    assert "busy" not in summary_of(report)
    busy = dataclasses.replace(report, machine={**report.machine, "load_before": 3.0})
    assert "busy with other things (load 3.0)" in summary_of(busy)
    assert json.loads(report.as_json())["rows"][0]["age_ms_p95"] is None
    assert table_of(list(report.rows)).row_count == 3


def test_a_load_with_a_driver_unserved_is_not_held() -> None:
    assert row(4, 30).enough
    assert not row(4, 30, live=3).enough


def test_benchmark_verb_is_light_to_load() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "bench", "call", "--max-drivers", "0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--max-drivers" in done.stderr


def test_rates_are_of_peers_where_there_are_any() -> None:
    """One's own picture comes at half the rate in a call, on purpose."""

    def driver(name: str, **frames: int) -> SyntheticDriver:
        return cast(
            SyntheticDriver,
            SimpleNamespace(terminal=name, streams={of: ReceivedStream(of, n) for of, n in frames.items()}),
        )

    assert _rates([driver("ada", ada=60)], 2.0) == [30.0]
    assert _rates([driver("ada", ada=30, ben=60), driver("ben", ben=30, ada=50)], 2.0) == [30.0, 25.0]
