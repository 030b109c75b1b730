"""``understudy evaluate``: figures on people that were never trained on."""

from __future__ import annotations

import json
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
    try:
        if json_file:
            write_json(json_file, figures)
        if picture:
            draw_grid(picture, held_out, *load_transformer(path))
    except (ValueError, OSError) as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None


@app.command("generator")
def evaluate_generator(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="What `understudy dataset build` made.")
    ],
    weights: Annotated[
        list[Path] | None,
        typer.Option("--weights", "-w", metavar="FILE", help="Network, or checkpoint.pt; repeatable."),
    ] = None,
    split: Annotated[list[str] | None, typer.Option("--split", help="Whose clips; dev if left out.")] = None,
    photos: Annotated[list[int] | None, typer.Option("--photos", min=1, max=8, help="1, 4, 8.")] = None,
    cross_photos: Annotated[
        list[int] | None, typer.Option("--cross-photos", min=0, max=8, help="1; 0 for no cross-person.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=2, help="At most so many people.")] = None,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Cases of each person.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 1,
    csim: Annotated[
        bool, typer.Option(help="Measure identity (needs dlib; npm for further networks).")
    ] = True,
    perceptual: Annotated[bool, typer.Option(help="Measure perceptual distance (needs h5py).")] = True,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Where fetched networks are kept.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Processor threads.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Page with pictures of the people.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--card", metavar="FILE", help="Model card's figures, as Markdown.")
    ] = None,
    card_photos: Annotated[
        list[Path] | None,
        typer.Option("--card-photo", metavar="FILE", help="Faces the card may show; repeatable."),
    ] = None,
) -> None:
    """How well generators reenact people they never saw, beside copying and the mesh warp.

    Self-reenactment from one and more photos, cross-person reenactment, and steadiness of video.
    """
    from contextlib import ExitStack

    import cv2
    import platformdirs
    import torch
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from models.evaluation.generator import GeneratorEvaluation, baselines, load_network_methods
    from models.evaluation.generator_metrics import PerceptualMetric
    from models.evaluation.generator_report import evaluate, show, write_json, write_page
    from models.evaluation.identity_networks import identity_networks
    from models.evaluation.model_card import write_card
    from models.landmarks.detector import FaceDetector
    from models.registry_files import Unavailable
    from models.training.samples import load_people

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    cache = cache or Path(platformdirs.user_cache_dir("understudy"))
    with ExitStack() as stack:
        try:
            people = load_people(data, split or ["dev"])  # type: ignore[arg-type]
            if len(people) < 2:
                raise ValueError("fewer than two people: nobody to drive anybody")
            methods = baselines() + load_network_methods(weights or [])
            evaluation = GeneratorEvaluation(
                people[:limit],
                methods,
                stack.enter_context(FaceDetector(static=True)),
                perceptual=PerceptualMetric(cache) if perceptual else None,
                identity=identity_networks(cache) if csim else None,
                background=load_people(data, ["train", "dev"]) if csim else (),
                seed=seed,
            )
        except (ValueError, OSError, ModuleNotFoundError, Unavailable) as error:
            typer.secho(str(error), err=True, fg=typer.colors.RED)
            raise typer.Exit(2) from None
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            cases = bar.add_task("cases", total=None)
            report = evaluate(
                evaluation,
                pairs=pairs,
                photos=sorted(set(photos or [1, 4, 8])),
                cross_photos=sorted(set(cross_photos or [1]) - {0}),
                progress=lambda done, total: bar.update(cases, completed=done, total=total),
            )
        show(report)  # first: it took hours, and what follows may not be writable
        try:
            if json_file:
                write_json(json_file, report)
            if card:
                write_card(card, report, evaluation, card_photos or [])
            if out:
                with Progress(*columns) as bar:
                    drawn = bar.add_task("pictures", total=None)
                    page = write_page(
                        out,
                        report,
                        evaluation,
                        progress=lambda done, total: bar.update(drawn, completed=done, total=total),
                    )
                typer.echo(f"page: {page}")
        except (ValueError, OSError) as error:
            typer.secho(str(error), err=True, fg=typer.colors.RED)
            raise typer.Exit(2) from None


@app.command("card")
def write_model_card(
    report: Annotated[Path, typer.Argument(help="What `evaluate generator --json` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Markdown.")],
) -> None:
    """The tables of a model card from figures that were measured before, without its picture."""
    from models.evaluation.generator_report import read_report
    from models.evaluation.model_card import write_card

    try:
        try:
            figures = read_report(report)
        except (json.JSONDecodeError, UnicodeDecodeError):  # they name a place in the file, but not the file
            raise ValueError(f"{report} is no report that `evaluate generator --json` wrote.") from None
        write_card(out, figures)
    except (ValueError, OSError) as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
