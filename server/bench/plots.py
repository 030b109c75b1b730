"""Draws cost and frame age against the number of drivers, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from server.bench.batching import BatchingRow
from server.bench.call import Row

__all__ = ["plot_batching", "plot_call"]


def plot_batching(rows: Sequence[BatchingRow], path: Path, *, title: str) -> None:
    """Cost, frames and their age against the number of drivers, and both over time; of one load, over time.

    Raises:
        typer.BadParameter: the file cannot be written, or its kind is unknown.
    """
    figure, axes = _panels(title, 3 if len(rows) > 1 else 1)
    if len(rows) > 1:
        cost, age, _ = axes
        drivers = [row.drivers for row in rows]
        _cost(cost, drivers, [row.cpu for row in rows], "inference process")
        frames, least = cost.twinx(), [row.fps_min for row in rows]
        frames.fill_between(drivers, least, [row.fps_max for row in rows], color="C1", alpha=0.25, lw=0)
        frames.plot(drivers, [row.fps_mean for row in rows], "C1s-", ms=3)
        frames.set_ylabel("new frames a second of each\n(band: least to most)", color="C1")
        frames.set_ylim(0)
        _ages(age, drivers, [row.age_ms_p50 for row in rows], [row.age_ms_p95 for row in rows])
    # of equally long ones the highest load that was served in full
    full = 0.95 * rows[0].fps_mean
    _over_time(axes[-1], max(rows, key=lambda row: (len(row.moments), row.fps_mean > full, row.drivers)))
    _save(figure, path)


def _over_time(axes: Any, row: BatchingRow) -> None:
    at = [moment.at_s for moment in row.moments]
    frames_s = [max(moment.fps, 1e-9) * row.drivers for moment in row.moments]
    cost_ms = [1e3 * moment.cpu / rate for moment, rate in zip(row.moments, frames_s, strict=True)]
    axes.plot(at, cost_ms, "C0")
    axes.plot(at, [moment.age_ms for moment in row.moments], "C3")
    axes.set_ylim(0)
    axes.set_xlabel(f"seconds, drivers: {row.drivers}")
    axes.set_ylabel("ms: CPU a frame (blue), age (red)")


def plot_call(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Two panels: cost and frame age against the number of drivers in calls.

    Raises:
        typer.BadParameter: the file cannot be written, or its kind is unknown.
    """
    figure, (cost, age) = _panels(title, 2)
    drivers = [row.drivers for row in rows]
    _cost(cost, drivers, [row.cpu_total for row in rows], "whole service")
    frames = cost.twinx()
    frames.plot(drivers, [row.generated_fps for row in rows], "C1s-", ms=3)
    frames.set_ylabel("new frames a second of each", color="C1")
    frames.set_ylim(0)
    _ages(age, drivers, [row.age_ms_p50 for row in rows], [row.age_ms_p95 for row in rows])
    _save(figure, path)


def _panels(title: str, count: int) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    wide = max(2, count)
    figure, axes = pyplot.subplots(1, count, figsize=(4.4 * wide, 3.4), layout="constrained", squeeze=False)
    figure.suptitle(title, fontsize=10)
    return figure, axes[0]


def _cost(axes: Any, drivers: Sequence[int], cores: Sequence[float], of: str) -> None:
    axes.plot(drivers, cores, "C0o-", ms=3)
    first = cores[0] / drivers[0]
    reach = [driver for driver in drivers if driver * first <= max(cores) * 1.15]
    axes.plot(reach, [driver * first for driver in reach], "k:", lw=0.8)  # a straight line through the first
    axes.set_xlabel("drivers")
    axes.set_ylabel(f"cores of the {of}", color="C0")
    axes.set_ylim(0)
    axes.set_xlim(0)


def _ages(axes: Any, drivers: Sequence[int], median: Sequence[float], high: Sequence[float]) -> None:
    axes.plot(drivers, median, "C3o-", ms=3, label="p50")
    axes.plot(drivers, high, "C3o--", ms=3, label="p95")
    axes.set_xlabel("drivers")
    axes.set_ylabel("frame age, ms")
    axes.set_ylim(0)
    axes.set_xlim(0)
    axes.legend(frameon=False)


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    try:
        figure.savefig(path, dpi=80)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"--plot {path}: {error}.") from None
    finally:
        pyplot.close(figure)
