"""Shows what ``understudy bench batching`` measured as a table, and against a former result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from server.bench.batching import BatchingRow

_COLUMNS = (
    "drivers",
    "new fps\nmean min-max",
    "age ms\np50/p95/max",
    "gap\nmax",
    "own\nms",
    "waiting\nms",
    "batch",
    "CPU",
    "CPU ms\na frame",
)


def show(rows: Sequence[BatchingRow], former: Mapping[int, float], console: Console | None = None) -> None:
    """Print the rows; with the change of processor time a frame where there are former ones."""
    table = Table(box=SIMPLE, padding=0, collapse_padding=True)
    for column in (*_COLUMNS, *(["since"] if former else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [
            str(row.drivers) if row.live == row.drivers else f"{row.live} of {row.drivers}",
            f"{row.fps_mean:.1f} {row.fps_min:.1f}-{row.fps_max:.1f}",
            f"{row.age_ms_p50:.0f}/{row.age_ms_p95:.0f}/{row.age_ms_max:.0f}",
            f"{row.gap_ms_max:.0f}",
            f"{row.own_ms:.1f}",
            f"{row.waiting_ms:.1f}",
            f"{row.batch:.1f}",
            f"{row.cpu:.2f} ({row.feeder_cpu:.2f})",
            f"{row.cpu_ms:.1f}",
        ]
        if former:
            before = former.get(row.drivers)
            cells.append(f"{100 * (row.cpu_ms / before - 1):+.0f} %" if before else "")
        table.add_row(*cells)
    (console or Console(highlight=False)).print(table)


def read_former(path: Path | None, part: str | None = None) -> dict[int, float]:
    """Processor time a frame of a former result, by number of drivers.

    Raises:
        typer.BadParameter: it is no result of this command.
    """
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["parts"][part] if part is not None else content["rows"]
        return {int(row["drivers"]): float(row["cpu_ms"]) for row in rows if row["cpu_ms"] is not None}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise typer.BadParameter(f"--compare {path}: no result of this command ({error}).") from None
