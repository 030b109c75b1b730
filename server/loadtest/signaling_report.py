"""Runs a load test of signaling with a progress bar and shows what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from server.loadtest.loop import run
from server.loadtest.report import number, write
from server.loadtest.signaling import SignalingLoad, SignalingReport


def show_signaling(load: SignalingLoad, json_file: Path | None) -> int:
    """Run it with a progress bar, then show a table; returns the exit code.

    Raises:
        UserError: the service cannot be reached, or the file cannot be written.
    """
    console = Console(highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("connecting", total=1.0)
        watched = replace(
            load, progress=lambda doing, share: bar.update(task, description=doing, completed=share)
        )
        report = run(watched.run())
    _print(report, console)
    if json_file is not None:
        write(json_file, report.as_json(), "--json")
    return 0 if report.ok else 1


def _print(report: SignalingReport, console: Console) -> None:
    title = f"{report.connected} of {report.options.terminals} terminals in {report.options.rooms} rooms"
    table = Table("milliseconds", *("p50", "p95", "p99", "most"), box=SIMPLE, title=title)
    for name, spread in (
        ("call request → rings at the peer", report.relay),
        ("accepted → in the call, at the caller", report.accept),
        ("text sent → received", report.text),
        ("lag of the load test itself", report.lag),
    ):
        values = (spread.p50, spread.p95, spread.p99, spread.most)
        table.add_row(name, *(number(value, 2) for value in values))
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    console.print(
        f"{report.relays} calls rang, {report.received:.0f} messages received a second; connecting took "
        f"{report.connect_s:.1f} s. The load test itself took {report.cpu:.2f} cores; the machine's load "
        f"before was {report.machine['load_before']:.1f}.",
        soft_wrap=True,
    )
    if report.lost:
        listed = ", ".join(f"{escape(what)} {count}" for what, count in report.lost.items())
        console.print(f"Lost, refused or late: {listed}", style="red", soft_wrap=True)
        for sentence in report.sentences:
            console.print(f"  {escape(sentence)}", style="red", soft_wrap=True)
        if any("429" in what for what in report.lost):
            console.print(
                "The service bounds the connections of one address: raise its settings "
                "connections_per_address, connects_per_second and connect_burst for the test. Of more than "
                "1,000 it takes 50 a second (--ramp).",
                style="yellow",
                soft_wrap=True,
            )
    if not report.relay.p99 <= report.options.max_relay_ms:
        console.print(
            f"The p99 of ringing, {number(report.relay.p99, 1)} ms, is above "
            f"{report.options.max_relay_ms:g} ms (--max-relay-ms).",
            style="red",
        )
    if report.ok:
        console.print("All is well.", style="green")
