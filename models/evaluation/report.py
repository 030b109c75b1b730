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
    call_expressions,
    few_shot_expressions,
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
        transfer: of the former, driven as in a call, targets from one photo.
        transfer_two, transfer_four: the same, targets from two photos, and from four.
        transfer_few: the same as ``transfer``, but each driver's frame taken apart alone.
        start: of those with footage enough.
    """

    identity: IdentityFigures
    identity_all: IdentityFigures
    transfer: TransferFigures
    transfer_two: TransferFigures
    transfer_four: TransferFigures
    transfer_few: TransferFigures
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
    estimate = FewShot(weights)
    in_call = call_expressions(long, estimate)
    return Figures(
        identity=identity_figures(long, image, landmarks),
        identity_all=identity_figures(people, image, landmarks),
        transfer=transfer_figures(long, image, landmarks, in_call),
        transfer_two=transfer_figures(long, image, landmarks, in_call, photos=2),
        transfer_four=transfer_figures(long, image, landmarks, in_call, photos=4),
        transfer_few=transfer_figures(long, image, landmarks, few_shot_expressions(long, estimate)),
        start=start_figures(people, estimate),
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
    for title, goals, moved in (
        ("as in a call, target from one photo", True, figures.transfer),
        ("as in a call, target from two photos", True, figures.transfer_two),
        ("as in a call, target from four photos", True, figures.transfer_four),
        ("each frame taken apart alone", False, figures.transfer_few),
    ):
        table.add_section()
        table.add_row(f"[bold]X drives Y[/]: {moved.pairs} pairs, {title}", "", "")
        for label, value, goal in (
            ("identity nearer to Y than to X, pairs", f"{moved.nearer:.1%}", "98 %"),
            ("the same, single frames", f"{moved.nearer_frames:.1%}", ""),
            ("the same, X's landmarks as they are", f"{moved.naive_nearer:.1%}", "0 %"),
            *(
                (
                    f"{name}: correlation with X's (worst pair)",
                    f"{value:.3f} ({moved.worst[name]:.2f})",
                    "0.9",
                )
                for name, value in moved.correlation.items()
            ),
            ("round trip: energy lost", f"{moved.round_trip:.2%}", "10 %"),
            ("round trip, taken off frame by frame", f"{moved.round_trip_few:.0%}", ""),
        ):
            table.add_row(f"  {label}", value, goal if goals else "")
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(figures), indent=2) + "\n")


def _against(value: float, naive: float) -> str:
    return f"{value:.3f} ({value / naive - 1:+.0%})"
