"""Runs all measurements of the landmark transformer and prints them as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from models.evaluation.landmarks import (
    MANY_SHOT_S,
    IdentityFigures,
    StartFigures,
    TransferFigures,
    identity_figures,
    start_figures,
    transfer_figures,
)
from models.landmarks.identity import FewShot
from models.landmarks.transformer import load_transformer
from models.training.landmark_data import Person

__all__ = ["Figures", "measure", "show", "write_json"]


@dataclass(frozen=True)
class Figures:
    """Everything that is measured.

    Attributes:
        identity: people with at least :data:`MANY_SHOT_S` seconds of footage.
        identity_all: everybody, however short their footage.
        transfer: of the former.
        start: of those with footage enough.
    """

    identity: IdentityFigures
    identity_all: IdentityFigures
    transfer: TransferFigures
    start: StartFigures


def measure(people: Sequence[Person], weights: Path) -> Figures:
    """Measure a file of weights on people.

    Raises:
        ValueError: nobody has footage enough.
    """
    image, landmarks = load_transformer(weights)
    long = [person for person in people if person.seconds >= MANY_SHOT_S]
    if len(long) < 2:
        raise ValueError(f"fewer than two people have {MANY_SHOT_S:.0f} s of footage")
    return Figures(
        identity=identity_figures(long, image, landmarks),
        identity_all=identity_figures(people, image, landmarks),
        transfer=transfer_figures(people, image, landmarks),
        start=start_figures(people, FewShot(weights)),
    )


def show(figures: Figures) -> None:
    """Print the figures as tables."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("measured on held-out people", "value", "goal", box=SIMPLE)
    for title, part in (
        (f"{figures.identity.people} people with {MANY_SHOT_S:.0f} s or more", figures.identity),
        (f"all {figures.identity_all.people} people", figures.identity_all),
    ):
        table.add_section()
        table.add_row(f"[bold]identity from one frame[/]: {title}", "", "")
        table.add_row("  naive (landmark - average)", f"{part.naive:.3f}", "")
        table.add_row("  few-shot, image and landmarks", _against(part.image, part.naive), "-30 %")
        table.add_row("  few-shot, landmarks only", _against(part.landmarks, part.naive), "")
        table.add_row("  naive, mean of four frames", _against(part.naive_four, part.naive), "")
        table.add_row("  few-shot, mean of four frames", _against(part.image_four, part.naive), "")
    transfer = figures.transfer
    table.add_section()
    table.add_row(f"[bold]X drives Y[/]: {transfer.pairs} pairs", "", "")
    table.add_row("  identity nearer to Y, pairs", f"{transfer.nearer:.1%}", "98 %")
    table.add_row("  identity nearer to Y, single frames", f"{transfer.nearer_frames:.1%}", "")
    table.add_row("  X's landmarks as they are", f"{transfer.naive_nearer:.1%}", "0 %")
    for name, value in transfer.correlation.items():
        other, worst = transfer.correlation_running[name], transfer.worst[name]
        table.add_row(
            f"  {name}: correlation with X's, one frame (its worst pair) / running identity",
            f"{value:.3f} ({worst:.2f}) / {other:.3f}",
            "0.9",
        )
    table.add_row("  round trip: share of energy lost", f"{transfer.round_trip:.1%}", "10 %")
    table.add_row("  the same, taken off by the few-shot estimate", f"{transfer.round_trip_few:.1%}", "")
    console.print(table)
    start = Table("seconds into the call", "running mean", "few-shot", "blend", box=SIMPLE)
    start.title = "distance to the driver's many-shot identity"
    for row in zip(
        figures.start.seconds, figures.start.many, figures.start.few, figures.start.blend, strict=True
    ):
        start.add_row(f"{row[0]:g}", *(f"{value:.3f}" for value in row[1:]))
    console.print(start)
    shares = sorted(figures.identity_all.shares.items(), key=lambda item: item[1])
    console.print("few-shot / naive by person: " + ", ".join(f"{name} {share:.2f}" for name, share in shares))


def write_json(path: Path, figures: Figures) -> None:
    """Write the figures to a JSON file."""
    path.write_text(json.dumps(asdict(figures), indent=2) + "\n")


def _against(value: float, naive: float) -> str:
    return f"{value:.3f} ({value / naive - 1:+.0%})"
