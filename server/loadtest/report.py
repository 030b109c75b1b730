"""Shows a load test of calls: live progress, a table of figures over the peers, what was wrong, a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from server.errors import UserError
from server.loadtest.results import CallReport, Moment, PeerResult

#: Figure, name, unit, factor, digits, whether more is better.
_ROWS: Final = (
    ("fps", "pictures received a second", "", 1, 1, True),
    ("freeze_s", "longest freeze", "s", 1, 2, False),
    ("first_picture_s", "in the call → first generated picture", "s", 1, 2, False),
    ("generated_fps", "new pictures a second (service)", "", 1, 1, True),
    ("age_ms", "age of the picture at the encoder (service)", "ms", 1, 0, False),
    ("frame_ms", "camera frame → generated picture (service)", "ms", 1, 1, False),
    ("relay_ms", "call request → rings at the peer", "ms", 1, 1, False),
    ("in_call_ms", "accepted → in the call", "ms", 1, 1, False),
    ("text_ms", "text sent → received", "ms", 1, 1, False),
    ("sound_lost", "sound that did not come", "%", 100, 2, False),
)
_MOST_NAMED: Final = 12


def number(value: float, digits: int) -> str:
    """A figure for people; a dash for what could not be measured."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def table_of(report: CallReport) -> Table:
    """Figures over all peers; the worst is the least where more is better."""
    table = Table(
        "over all peers", *("p50", "p95", "p99", "worst"), box=SIMPLE, title=f"{len(report.peers)} peers"
    )
    for figure, name, unit, factor, digits, more in _ROWS:
        spread = report.spread(figure)
        # the tail that matters: slow is a high time, or a low rate
        values = (
            (spread.p50, *_low(report, figure), spread.least)
            if more
            else (spread.p50, spread.p95, spread.p99, spread.most)
        )
        cells = (number(factor * value, digits) for value in values)
        table.add_row(f"{name}{f', {unit}' if unit else ''}", *cells)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _low(report: CallReport, figure: str) -> tuple[float, float]:
    """What 95 % and 99 % of the peers have at least."""
    from server.loadtest.results import Spread

    mirrored = Spread.of([-float(getattr(peer, figure)) for peer in report.peers])
    return -mirrored.p95, -mirrored.p99


def sums_of(peers: Sequence[PeerResult]) -> str:
    """What was checked, in one paragraph."""

    def total(figure: str) -> int:
        return sum(int(getattr(peer, figure)) for peer in peers)

    return (
        f"Pictures: {total('right')} of {total('looked')} looked at show the right target, "
        f"{total('marked')} of {total('sections')} groups carry the watermark, "
        f"{total('camera')} show the driver's own camera, "
        f"{total('gaps')} gaps over 0.5 s, {total('stills')} stills. "
        f"Sound: the tone was heard {total('heard')} of {total('listened')} times. "
        f"Texts: {total('texts_sent')} sent, {total('texts_lost')} lost, "
        f"{total('texts_wrong')} doubled, out of order or strange."
    )


def show(report: CallReport, console: Console) -> None:
    """The table, what was checked, and whatever was lost or wrong."""
    console.print(table_of(report))
    console.print(sums_of(report.peers), soft_wrap=True)
    streams = sum(not math.isnan(peer.fps) for peer in report.peers)
    each = f", {report.cpu / streams:.3f} for each stream received" if streams else ""
    console.print(
        f"The load test itself took {report.cpu:.2f} cores{each}; the machine's load before was "
        f"{report.machine['load_before']:.1f}.",
        soft_wrap=True,
    )
    if report.leaked:
        console.print("A DRIVER'S OWN CAMERA REACHED A PEER.", style="bold white on red")
    if report.lost:
        listed = ", ".join(f"{escape(what)} {count}" for what, count in report.lost.most_common())
        console.print(f"Counted: {listed}", style="yellow", soft_wrap=True)
    wrong = report.wrong
    for name, faults in list(wrong.items())[:_MOST_NAMED]:
        console.print(f"{escape(name)}: {escape('; '.join(faults))}", style="red", soft_wrap=True)
    if len(wrong) > _MOST_NAMED:
        console.print(f"... and {len(wrong) - _MOST_NAMED} further peers (--json has all).", style="red")
    if not wrong:
        console.print("All is well.", style="green")


def write(path: Path, text: str, option: str) -> None:
    """Write a result file.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{option}: cannot write {path}: {error.strerror}.") from None


def plot(report: CallReport, path: Path) -> None:
    """Frame rate and latency against the number of calls, as a picture file.

    Raises:
        UserError: it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout="constrained")
    rates, latency = figure.subplots(2, 1, sharex=True)
    _scatter(rates, report.moments, "fps_p50", "median of the streams", "C0")
    _scatter(rates, report.moments, "fps_min", "slowest stream", "C3")
    rates.axhline(report.bounds.min_fps, color="grey", linestyle=":", label="least wanted")
    rates.set_ylabel("pictures received a second")
    rates.set_ylim(bottom=0)
    _scatter(latency, report.moments, "age_ms_p50", "age of the picture, median (service)", "C0")
    _scatter(latency, report.moments, "age_ms_max", "age of the picture, oldest (service)", "C3")
    _scatter(latency, report.moments, "relay_ms", "call request → rings", "C2")
    latency.set_ylabel("milliseconds")
    latency.set_ylim(bottom=0)
    latency.set_xlabel("calls")
    latency.set_xlim(0, max((moment.calls for moment in report.moments), default=0) + 1)
    latency.xaxis.get_major_locator().set_params(integer=True)
    for axes in (rates, latency):
        axes.grid(alpha=0.3)
        axes.legend()
    rates.set_title(f"{report.service}, {report.machine['cpus']} CPUs here, each point one second")
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise UserError(f"--plot: cannot write {path}: {error}.") from None


def _scatter(axes: object, moments: Sequence[Moment], figure: str, label: str, colour: str) -> None:
    """Each second as a point, and a line through the medians of each number of calls."""
    import numpy as np

    known = [(m.calls, value) for m in moments if m.calls and not math.isnan(value := getattr(m, figure))]
    loads = sorted({calls for calls, _ in known})
    middle = [float(np.median([value for calls, value in known if calls == load])) for load in loads]
    draw = getattr(axes, "plot")  # noqa: B009
    draw([calls for calls, _ in known], [value for _, value in known], ".", color=colour, alpha=0.35)
    draw(loads, middle, "-o", color=colour, markersize=4, label=label)
