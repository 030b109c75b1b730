"""``understudy dataset``: turns clips of talking people into training shards."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Build training data from clips.", no_args_is_help=True, rich_markup_mode="markdown")


class Engines(StrEnum):
    """What runs the clips side by side."""

    pool = "pool"
    ray = "ray"


@app.callback()
def dataset() -> None:
    """Build training data from clips."""


@app.command("build")
def build(
    source: Annotated[
        Path, typer.Argument(help="Folder with a clips.csv, or a tree person/video/clip.", exists=True)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where shards and report go.")],
    size: Annotated[int, typer.Option("--size", min=64, max=1024, help="Pixels a side of the crops.")] = 256,
    fps: Annotated[float, typer.Option("--fps", min=0.1, help="Frames a second kept, at most.")] = 6.5,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; by default one a processor.")
    ] = None,
    engine: Annotated[
        Engines, typer.Option("--engine", help="This machine's processes, or Ray Data (needs ray).")
    ] = Engines.pool,
) -> None:
    """Cut one-face tracks out of clips: crops and landmarks, one shard a clip.

    Run it again to go on where it stopped. `report.json` says what was left out, and why.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from models.training.build import build_dataset, summarise
    from models.training.clips import ClipOptions

    console = Console()
    columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("clips", total=None)
            reports = build_dataset(
                source,
                out,
                ClipOptions(size=size, fps=fps),
                engine=engine.value,
                workers=workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (ValueError, OSError, ModuleNotFoundError) as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
    for name, counts in summarise(reports).items():
        console.print(f"{name}: " + (", ".join(f"{n} {what}" for what, n in counts.items()) or "none"))
