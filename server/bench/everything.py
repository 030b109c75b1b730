"""``understudy bench all``: every benchmark that fits this machine, with one file of results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from server.bench.batching import Batching, BatchingRow
from server.bench.call import CallBenchmark, Row
from server.bench.networks import Name, usual
from server.bench.results import Times
from server.errors import UserError
from server.settings import Settings

__all__ = ["Everything"]


@dataclass
class Everything:
    """All benchmarks, one after the other.

    Attributes:
        size: of pictures.
        generators: that can be made here.
        quick: short measurements.
        browsers: measure latency in browsers as well.
        progress: told what is being done, and what share of all is done.
        parts: results by the benchmark's name.
        left_out: what could not be measured, and why.
    """

    size: int
    generators: Sequence[Name]
    quick: bool
    browsers: bool
    progress: Callable[[str, float], None]
    parts: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Measure; what cannot be measured here is left out, with the reason."""
        steps: dict[str, Callable[[], Any]] = {
            "landmarks": self._landmarks,
            "frame": self._frame,
            "generator": self._generator,
            **{f"batching {name}": self._batching(name) for name in self._served()},
            "call": self._call,
            **({"latency": self._latency} if self.browsers else {}),
        }
        for index, (name, measure) in enumerate(steps.items()):
            self.progress(name, index / len(steps))
            try:
                self.parts[name] = measure()
            except UserError as error:
                self.left_out[name] = str(error)

    def show(self, compare: Path | None) -> None:
        """Print every table, with changes against a former file of ``bench all``, as far as it has the same.

        Raises:
            typer.BadParameter: it is no such file.
        """
        from server.bench import batching_report, results
        from server.bench.latency_report import show_latency
        from server.bench.report import table_of

        console = Console(highlight=False)
        there = results.parts_of(compare)
        for name, part in self.parts.items():
            former = compare if name in there else None
            console.print(f"[bold]{name}[/]")
            if name.startswith("batching"):
                batching_report.show(part, batching_report.read_former(former, name), console)
            elif name == "call":
                console.print(table_of(part))
            elif name == "latency":
                show_latency(part["rows"], part["start"], {}, console)
            else:
                results.show("", part, results.read_former(former, name), console)
        for name, reason in self.left_out.items():
            console.print(f"{name}: left out. {reason}", soft_wrap=True)

    def write(self, path: Path | None) -> None:
        """Write all results as JSON."""
        from server.bench.results import write

        write(path, {"size": self.size, "parts": self.parts, "left_out": self.left_out})

    def _served(self) -> list[Name]:
        """Generators that are quick enough for calls on processors."""
        return [name for name in self.generators if name in (Name.MESH_WARP, usual())]

    def _landmarks(self) -> list[Times]:
        from server.bench.stages import time_landmarks

        return time_landmarks(frames=20 if self.quick else 300)

    def _frame(self) -> list[Times]:
        from server.bench.runtime_process import measure_frame

        return [
            replace(step, name=f"{name}: {step.name}")
            for name in self.generators
            for step in measure_frame(name, self.size, 10 if self.quick else 300)
        ]

    def _generator(self) -> list[Times]:
        from server.bench.runtime_process import measure_generator

        batches, rounds = ([1, 2], 5) if self.quick else ([1, 2, 4, 8, 16, 32, 64], 60)
        return [
            one
            for name in self.generators
            for one in measure_generator(name, self.size, batches, rounds, threads=1)
        ]

    def _batching(self, name: Name) -> Callable[[], list[BatchingRow]]:
        loads = [1, 2] if self.quick else [1, 2, 4, 8, 16, 32, 64]
        return lambda: asyncio.run(Batching(name, self.size, loads, 2.0 if self.quick else 6.0).run())

    def _call(self) -> list[Row]:
        rows: list[Row] = []
        settings = Settings(size=self.size)
        seconds, most = (2.0, 2) if self.quick else (10.0, 16)
        benchmark = CallBenchmark(settings, seconds, most, lambda doing, share: None, rows.append)
        asyncio.run(benchmark.run())
        return rows

    def _latency(self) -> dict[str, Any]:
        from server.bench.latency import Latency, measure_start

        start = measure_start()
        seconds, rounds = (4.0, 1) if self.quick else (15.0, 2)
        return {"start": start, "rows": Latency(usual(), self.size, seconds, rounds).run()}
