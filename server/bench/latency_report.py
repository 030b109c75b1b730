"""Shows what ``understudy bench latency`` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from server.bench.latency import LatencyRow, Start

_COLUMNS = (
    "p50\nms",
    "p95\nms",
    "frames",
    "camera\nfps",
    "peer\nfps",
    "buffer ms\nvideo/audio",
    "no\nnumber",
    "first\npicture s",
)


def show_latency(
    rows: Sequence[LatencyRow],
    start: Start,
    former: Mapping[tuple[str, int], float],
    console: Console | None = None,
) -> None:
    """Print both kinds of call, their difference, and what starting takes."""
    console = console or Console(highlight=False)
    table = Table(box=SIMPLE, padding=0, collapse_padding=True)
    table.add_column("call with", no_wrap=True)
    for column in (*_COLUMNS, *(["since"] if former else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [
            f"{row.p50_ms:.0f}",
            f"{row.p95_ms:.0f}",
            str(row.frames),
            f"{row.camera_fps:.1f}",
            f"{row.peer_fps:.1f}",
            f"{row.video_buffer_ms:.0f}/{row.audio_buffer_ms:.0f}",
            f"{row.unreadable:.1%}",
            f"{row.first_picture_s:.1f}",
        ]
        if former:
            before = former.get((row.mode, 1))
            cells.append(f"{row.p50_ms - before:+.0f} ms" if before else "")
        table.add_row(row.mode, *cells)
    console.print(table)
    by_mode = {row.mode: row for row in rows}
    more = by_mode["generator"].p50_ms - by_mode["identity"].p50_ms
    console.print(
        f"The generator adds {more:.0f} ms at p50.\n"
        f"Ready {start.ready_s:.1f} s after the start; importing the signaling server takes "
        f"{start.signaling_import_cpu_s:.2f} s of processor time, all of the main process "
        f"{start.main_import_cpu_s:.2f} s.",
        soft_wrap=True,
    )
