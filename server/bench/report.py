"""Shows benchmark results as a table, growing while it is measured."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from server.bench.call import ENOUGH_FPS, CallBenchmark, Report, Row
from server.bench.files import require_writable
from server.errors import UserError
from server.settings import Settings

_COLUMNS = (
    "drivers",
    "fps\np50/min",
    "new\nfps",
    "age ms\np50/p95",
    "frame ms\np50/p95",
    "lag ms\np99",
    "CPU\neach",
    "CPU\nall",
    "CPU\nbench",
)


def run_call_benchmark(
    settings: Settings,
    *,
    seconds: float,
    max_drivers: int,
    json_file: Path | None,
    plot_file: Path | None = None,
) -> Report:
    """Run ``understudy bench call``: a progress bar and a growing table while it runs, then the summary.

    Args:
        json_file: also written there, as JSON.
        plot_file: cost and frame age against the number of drivers, drawn.

    Raises:
        UserError: the service did not get ready, or a file cannot be written.
    """
    require_writable(json_file=json_file, plot=plot_file)
    rows: list[Row] = []
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    task = bar.add_task("", total=1.0)
    console = Console(highlight=False)
    with Live(Group(table_of(rows), bar), console=console, refresh_per_second=8) as live:

        def progress(doing: str, share: float) -> None:
            bar.update(task, description=doing, completed=share)

        def add(row: Row) -> None:
            rows.append(row)
            live.update(Group(table_of(rows), bar))

        benchmark = CallBenchmark(settings, seconds, max_drivers, progress, add)
        report = asyncio.run(benchmark.run())
        live.update(table_of(rows))
    console.print(f"\n{summary_of(report)}", soft_wrap=True)
    if json_file is not None:
        try:
            json_file.write_text(report.as_json(), encoding="utf-8")
        except OSError as error:
            raise UserError(f"Cannot write {json_file}: {error.strerror}.") from None
    if plot_file is not None:
        from server.bench.plots import plot_call

        plot_call(rows, plot_file, title=f"Calls: {settings.generator}, {settings.size} pixels")
    return report


def table_of(rows: list[Row]) -> Table:
    """One line for each load: rates in frames a second, times in milliseconds, CPU in cores."""
    table = Table(box=SIMPLE, padding=0, collapse_padding=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row.drivers) if row.live == row.drivers else f"{row.live} of {row.drivers}",
            f"{row.fps_p50:.1f}/{row.fps_min:.1f}",
            f"{row.generated_fps:.1f}",
            f"{_number(row.age_ms_p50, 0)}/{_number(row.age_ms_p95, 0)}",
            f"{_number(row.frame_ms_p50, 1)}/{_number(row.frame_ms_p95, 1)}",
            _number(row.lag_ms_p99, 1),
            *(f"{value:.2f}" for value in (row.cpu_per_driver, row.cpu_total, row.cpu_bench)),
            style="" if row.enough else "yellow",
        )
    return table


def summary_of(report: Report) -> str:
    """What the figures come to, in two lines."""
    held = max((row.drivers for row in report.rows if row.enough), default=0)
    first = next((row.live_after_s for row in report.rows if not math.isnan(row.live_after_s)), math.nan)
    busy = report.machine["load_before"]
    warning = (
        f"\nThe machine was busy with other things (load {busy:.1f}) when this began: expect better figures."
        if busy > 0.25 * report.machine["cpus"]
        else ""
    )
    return (
        f"{held} drivers at {ENOUGH_FPS:.0f} frames a second or more on {report.machine['cpus']} CPUs "
        f"({report.machine['processor']}), "
        f"{report.settings['generator']} at {report.settings['size']} pixels.\n"
        f"Ready {report.start_up_s:.1f} s after the start; "
        f"generated frames {_number(first, 1)} s after the first driver's first message."
        f"{warning}"
    )


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
