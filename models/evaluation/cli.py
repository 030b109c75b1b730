"""``understudy evaluate``: figures on people that were never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Measure models on people they never saw.", no_args_is_help=True, rich_markup_mode="markdown"
)


@app.callback()
def evaluate() -> None:
    """Measure models on people they never saw."""


@app.command("landmarks")
def evaluate_landmarks(
    store: Annotated[
        list[Path],
        typer.Option("--store", metavar="FILE", help="Separated landmarks, with crops; repeatable."),
    ],
    people: Annotated[
        list[Path], typer.Option("--people", metavar="CSV", help="Who is in which video; repeatable.")
    ],
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Else those that are shipped.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="PNG", help="Draw drivers x targets there.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")
    ] = None,
) -> None:
    """How well the landmark transformer tells who from how, on the people of the split `dev`."""
    import torch

    from models.evaluation.report import measure, show, write_json
    from models.evaluation.transfer_grid import draw_grid
    from models.landmarks.identity import WEIGHTS
    from models.landmarks.transformer import load_transformer
    from models.training.landmark_data import load_people_of

    torch.set_num_threads(1)
    path = weights or WEIGHTS
    try:
        held_out = [
            person for person in load_people_of(store, people) if person.split == "dev" and not person.still
        ]
        if len(held_out) < 2:
            raise ValueError("fewer than two people of the split dev are on video in the stores")
        figures = measure(held_out, path)
    except (ValueError, OSError) as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
    show(figures)
    if json_file:
        write_json(json_file, figures)
    if picture:
        draw_grid(picture, held_out, *load_transformer(path))
