"""``understudy animate``: a photo comes alive, by expression templates or by a driver's clip."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

__all__ = ["animate"]


def animate(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO...", help="Photos of one person (or the id of a built-in target)."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="FILE.mp4, .webm, .gif or .webp.")],
    template: Annotated[
        list[str] | None,
        typer.Option("--template", "-t", metavar="NAME", help="Expression; several play one after another."),
    ] = None,
    driver: Annotated[
        Path | None,
        typer.Option("--driver", "-d", metavar="CLIP", help="Film or folder of pictures to follow instead."),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Length of the whole.")] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Pictures a second; 25, or the clip's own.")
    ] = None,
    intensity: Annotated[float, typer.Option("--intensity", "-i", help="How strongly, 0.1 to 2.")] = 1.0,
    play: Annotated[
        Literal["once", "return", "loop"],
        typer.Option("--play", help="once, there and back (return), or without end (loop; gif, webp)."),
    ] = "once",
    size: Annotated[int, typer.Option("--size", help="Side of the face's picture: 256 or 512.")] = 256,
    whole: Annotated[bool, typer.Option("--whole", help="The whole photo, not just the face.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings file (generator, mark).")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Generate by a network of one's own training."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="NAME=VALUE", help="Any setting.")
    ] = None,
) -> None:
    """Make a photo move: `understudy animate me.jpg --template happy -o happy.mp4`.

    The first picture is the photo, the last shows the full expression. With --driver the face follows a
    clip of somebody, whose sound goes along. `understudy template list` names the templates.
    """
    from pydantic import ValidationError
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from models.templates.errors import TemplateError
    from models.templates.library import Library
    from server.animation.encode import format_of
    from server.animation.errors import AnimationError
    from server.animation.options import AnimationOptions
    from server.animation.render import Work, render
    from server.cli import load
    from server.generators import from_weights, load_generator
    from server.provenance import MarkSettings
    from server.targets.errors import PhotoRefused

    loaded = load(config, settings).settings
    if bool(template) == (driver is not None):
        _fail("usage", "Give either --template (once or more) or --driver.")
    if driver is not None and play == "return":
        _fail("usage", "A driver's clip is followed as it is: --play return is for templates.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        options = AnimationOptions.model_validate(
            {
                "seconds": seconds,
                "fps": fps,
                "intensity": intensity,
                "play": play,
                "size": size,
                "whole": whole,
            }
        )
        format_of(out)  # said before any work is done
        if not out.parent.is_dir():
            _fail("cannot_write", f"{out} cannot be written: there is no folder {out.parent}.")
        library = Library(loaded.data_dir / "templates")
        templates = [library.find(name, files=True) for name in template or []]
        with _told_to_end_is_an_exit(), Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("looking for the face", total=None)
            work = Work(
                subject=_subject(photos, loaded),
                out=out,
                templates=templates,
                driver=driver,
                options=options,
                mark=MarkSettings(loaded.mark_enabled, loaded.mark_text, loaded.mark_place, loaded.watermark),
            )
            count = render(
                work,
                from_weights(weights) if weights else load_generator(loaded.generator, loaded.data_dir),
                lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        _fail("option_invalid", f"--{first['loc'][0]}: {first['msg']}.")
    except (AnimationError, TemplateError, PhotoRefused) as error:
        _fail(error.code, error.message)
    except ValueError as error:
        if type(error).__name__ != "WeightsError":  # its module imports torch
            raise
        _fail("weights_invalid", f"{error}.")
    typer.echo(f"{out}: {count} pictures")


@contextmanager
def _told_to_end_is_an_exit() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does: the half of a film, a hidden file beside the result, goes with it."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _subject(photos: list[str], settings: Any) -> Any:
    from server.animation.subjects import subject_of_photos, subject_of_target
    from server.targets.store import TargetStore

    if len(photos) == 1 and not Path(photos[0]).exists():
        store = TargetStore(settings.data_dir)
        if photos[0] in {record.id for record in store.built_ins()}:
            return subject_of_target(store, photos[0])
    return subject_of_photos([Path(photo) for photo in photos])


def _fail(code: str, message: str) -> NoReturn:
    typer.secho(f"{message} ({code})", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)
