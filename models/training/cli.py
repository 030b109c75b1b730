"""``understudy train``: trains what is shipped, on data of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.training.clips import ClipShard

app = typer.Typer(help="Train models on data of your own.", no_args_is_help=True, rich_markup_mode="markdown")

CONFIGS = Path(__file__).parent / "configs"


@app.callback()
def train() -> None:
    """Train models on data of your own."""


@app.command("transformer")
def train_landmark_transformer(
    store: Annotated[
        list[Path],
        typer.Option("--store", metavar="FILE", help="Separated landmarks, with crops; repeatable."),
    ],
    people: Annotated[
        list[Path],
        typer.Option("--people", metavar="CSV", help="Columns clip (or photo), person, split; repeatable."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Checkpoints, logs and weights.")],
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="YAML", help="Settings of the run.")
    ] = CONFIGS / "landmark_transformer.yaml",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Processor threads.")] = 1,
) -> None:
    """Train the landmark transformer; run it again to go on where it stopped.

    `understudy landmarks separate VIDEO... --every 3 --crops 72 --out DIR` makes a store.
    """
    import torch

    from models.training.landmark_data import load_people_of
    from models.training.transformer import TransformerTraining, train_transformer

    torch.set_num_threads(threads)
    try:
        settings = TransformerTraining.load(config)
        weights = train_transformer(load_people_of(store, people), settings, out, report=typer.echo)
    except (ValueError, OSError) as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
    typer.echo(f"weights: {weights}")


@app.command("registration")
def train_skin_registration(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="What `understudy dataset build` made.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The weights.")],
    pairs: Annotated[int, typer.Option("--pairs", min=64, help="Pairs of frames to learn from.")] = 16_000,
    through: Annotated[
        Path | None,
        typer.Option(
            "--through", metavar="FILE", help="Weights of the network to learn from; else the mesh warp."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 1,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; by default one a processor.")
    ] = None,
) -> None:
    """Learn where skin lies beside the landmarks as a face moves; minutes, from pairs of frames.

    Generators trained with `registered: true` use models/weights/skin-registration.safetensors.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from models.training.registration import RegistrationTraining, save_registration, train_registration

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns) as bar:

            def task(name: str, total: int) -> Callable[[int], None]:
                number = bar.add_task(name, total=total)
                return lambda done: bar.advance(number, done)

            settings = RegistrationTraining(pairs=pairs, seed=seed)
            made, figures = train_registration(data, settings, task, through=through, workers=workers)
    except (ValueError, OSError, RuntimeError) as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
    save_registration(made, out)
    if figures is not None:
        typer.echo(
            f"of how far skin lies beside the landmarks of people never seen, "
            f"{figures.squared:.0%} of the variance and {figures.absolute:.0%} of the distance are explained"
        )
    typer.echo(f"weights: {out}")


@app.command("generator")
def train_generator(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="What `understudy dataset build` made.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Checkpoint, logs and weights.")],
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="YAML", help="Settings of the run.")
    ] = CONFIGS / "lite.yaml",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Processor threads.")] = None,
) -> None:
    """Train the MarioNETte generator; run it again to go on where it stopped.

    Writes `checkpoint.pt` every few minutes, TensorBoard logs, and the averaged weights at the end; and at
    every evaluation a sample sheet of the people of the split dev, where there are any.
    """
    import platformdirs
    import torch
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from models.evaluation.generator_metrics import PerceptualMetric
    from models.marionette.weights import save_network
    from models.registry_files import Unavailable
    from models.training.calibration import calibrate
    from models.training.generator import Trainer, TrainingConfig
    from models.training.sheets import SampleSheet

    if threads:
        torch.set_num_threads(threads)
    cache = Path(platformdirs.user_cache_dir("understudy"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        settings = TrainingConfig.load(config)
        sheet = None
        if held_out := _held_out(data):
            measure = PerceptualMetric(cache) if any(phase.perceptual for phase in settings.phases) else None
            sheet = SampleSheet(held_out, out / "sheets", perceptual=measure, device=device)
        trainer = Trainer(settings, data, out, cache=cache, evaluate=sheet, device=device)
    except (ValueError, OSError, ModuleNotFoundError, Unavailable) as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, disable=not trainer.processes.main) as bar:
        task = bar.add_task("", total=trainer.total_steps, completed=trainer.step)

        def show(step: int, _: int, figures: dict[str, float]) -> None:
            bar.update(task, completed=step, description=f"l1 {figures['l1']:.3f}")

        trainer.run(show)
    trainer.processes.end()
    if trainer.processes.main:
        weights = out / "generator.safetensors"
        save_network(trainer.average, weights)  # first without: hours of training must not depend on the rest
        save_network(trainer.average, weights, calibrate(trainer.average, data))
        typer.echo(f"weights: {weights}")


@app.command("calibrate")
def calibrate_generator(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Of a generator; written anew.")],
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="What `understudy dataset build` made.")
    ],
    samples: Annotated[int, typer.Option("--samples", min=4, help="Frames to measure.")] = 96,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
) -> None:
    """Measure the activation ranges of a generator that has none in its file, and write them into it.

    Processors then compute its large convolutions in 8-bit arithmetic, which is quicker.
    `understudy train generator` does this at its end.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from models.marionette.weights import load_network, save_network
    from models.training.calibration import calibrate

    try:
        network = load_network(weights).eval()
        with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
            task = bar.add_task("", total=samples)

            def show(done: int) -> None:
                bar.update(task, completed=done)

            ranges = calibrate(network, data, samples=samples, seed=seed, progress=show)
        save_network(network, weights, ranges)
    except (ValueError, OSError) as error:
        typer.secho(str(error), err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
    typer.echo(f"ranges of {len(ranges)} convolutions: {weights}")


def _held_out(data: Path) -> list[list[ClipShard]]:
    """Clips of the split dev by person; none, and a sentence, where there is no such split."""
    from models.training.samples import load_people

    try:
        return load_people(data, ["dev"])
    except ValueError as error:
        typer.secho(f"no sample sheets: {error}", err=True, fg=typer.colors.YELLOW)
        return []
