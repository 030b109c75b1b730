"""Benchmark results: times and what they come to, as a table, as a file, and against a former file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

__all__ = ["Times", "parts_of", "read_former", "show", "without_nan", "write"]

Former = Mapping[tuple[str, int], float]


@dataclass(frozen=True)
class Times:
    """What one step of a frame takes, or one generator.

    Attributes:
        name: of the step (``whole`` is all of them), or of generator and runtime.
        p50_ms, p95_ms: wall-clock time a frame.
        cpu_ms: processor time of all threads, mean a frame.
        batch: frames made together.
        gflops: floating-point operations of a frame's network, where there is one, in thousand millions.
        peak_gflops: GFLOP/s of a large convolution in the same runtime, precision, threads and process.
        memory_mib: most resident memory that the fresh process it ran in had, up to then.
        target_kib: what a cached target holds.
    """

    name: str
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    batch: int = 1
    gflops: float | None = None
    peak_gflops: float | None = None
    memory_mib: float | None = None
    target_kib: float | None = None

    @property
    def gflops_per_s(self) -> float | None:
        """GFLOP/s at the median, everything around the network included."""
        return None if self.gflops is None else 1e3 * self.gflops / self.p50_ms

    @property
    def share_of_peak(self) -> float | None:
        """Of what a large convolution reaches, 0..1."""
        rate = self.gflops_per_s
        return None if rate is None or not self.peak_gflops else rate / self.peak_gflops


def show(what: str, times: Sequence[Times], former: Former, console: Console | None = None) -> None:
    """Print a table; with a column of changes where there are former medians."""
    columns = ["batch", "p50\nms", "p95\nms", "CPU\nms"]
    networks = any(one.gflops is not None for one in times)
    memory = any(one.memory_mib is not None for one in times)
    columns += ["GFLOP\neach", "GFLOP\na s", "of\npeak"] if networks else []
    columns += ["MiB\nall", "KiB\ntarget"] if memory else []
    table = Table(box=SIMPLE, padding=0, collapse_padding=True)
    table.add_column(what, no_wrap=True)
    for column in (*columns, *(["since"] if former else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for one in times:
        cells = [str(one.batch), f"{one.p50_ms:.2f}", f"{one.p95_ms:.2f}", f"{one.cpu_ms:.2f}"]
        if networks:
            share = one.share_of_peak
            cells += [
                _number(one.gflops, 2),
                _number(one.gflops_per_s, 0),
                "" if share is None else f"{share:.0%}",
            ]
        if memory:
            cells += [_number(one.memory_mib, 0), _number(one.target_kib, 0)]
        if former:
            before = former.get((one.name, one.batch))
            cells.append(f"{100 * (one.p50_ms / before - 1):+.0f} %" if before else "")
        table.add_row(one.name, *cells)
    (console or Console(highlight=False)).print(table)


def read_former(path: Path | None, part: str | None = None) -> Former:
    """Median times of a former result, by name and batch.

    Args:
        path: what :func:`write` wrote; None gives no times.
        part: of a result of ``bench all``.

    Raises:
        typer.BadParameter: it is no such file.
    """
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results = content["parts"][part] if part is not None else content["results"]
        return {(one["name"], one["batch"]): float(one["p50_ms"]) for one in results}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise typer.BadParameter(f"--compare {path}: no result of this command ({error}).") from None


def parts_of(path: Path | None) -> frozenset[str]:
    """Names of the benchmarks in a former result of ``bench all``.

    Args:
        path: what :func:`write` wrote; None has none.

    Raises:
        typer.BadParameter: it is no such file.
    """
    if path is None:
        return frozenset()
    try:
        return frozenset(dict(json.loads(path.read_text(encoding="utf-8"))["parts"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise typer.BadParameter(f"--compare {path}: no result of this command ({error}).") from None


def write(path: Path | None, content: Mapping[str, Any]) -> None:
    """Write a result as JSON, with what machine it was measured on.

    Raises:
        typer.BadParameter: it cannot be written.
    """
    if path is None:
        return
    from server.bench.call import machine

    try:
        path.write_text(
            json.dumps({"machine": machine(), **without_nan(content)}, indent=1) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise typer.BadParameter(f"--json {path}: cannot be written ({error.strerror}).") from None


def without_nan(value: Any) -> Any:
    """The same with dictionaries for data classes, and null for what could not be measured."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    if hasattr(value, "__dataclass_fields__"):
        return without_nan(asdict(value))
    return value


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
