"""``understudy template``: the expressions that photos can show, and making one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    help="Expression templates for `understudy animate`.", no_args_is_help=True, rich_markup_mode="markdown"
)

DataOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder in which one's own templates are kept.")
]


@app.callback()
def template() -> None:
    """Expression templates for `understudy animate`."""


@app.command("list")
def list_templates(data_dir: DataOption = None) -> None:
    """Name every template: the built-in ones, then one's own."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from models.templates.library import Library, builtin_templates

    table = Table("name", "seconds", "built in", "what it shows", box=SIMPLE, title="Expression templates")
    shipped = {template.name for template in builtin_templates()}
    for found in Library(_folder(data_dir)).all():
        built_in = "yes" if found.name in shipped else ""
        shows = escape(found.description or found.title)  # a file may come from anybody
        table.add_row(found.name, f"{found.seconds:.1f}", built_in, shows)
    Console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A template's name, or its file.")], data_dir: DataOption = None
) -> None:
    """Say what a template holds."""
    import numpy as np

    from models.templates.errors import TemplateError
    from models.templates.library import Library

    try:
        found = Library(_folder(data_dir)).find(name, files=True)
    except TemplateError as error:
        _fail(error.code, error.message)
    most = float(np.linalg.norm(found.expression, axis=2).max())
    typer.echo(f"{found.title} ({found.name})")
    for label, value in (
        ("shows", found.description),
        ("made from", found.source),
        ("length", f"{found.seconds:.2f} s, {len(found.time)} keyframes, {found.interpolation}"),
        ("takes over within", f"{found.onset:.2f} s"),
        ("covers", ", ".join(f"{region} {share:.0%}" for region, share in found.cover.items() if share)),
        ("largest motion", f"{most:.3f} (a face is 3.2 high)"),
        ("lids at most", ", ".join(f"{value:.2f}" for value in found.lids.max(0))),
        ("head at most", ", ".join(f"{value:.1f}°" for value in np.abs(found.head).max(0))),
    ):
        if value:
            typer.echo(f"  {label}: {value}")


@app.command()
def create(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Film or folder of pictures of one person.")],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="NAME", help="Its name (kept in the data folder), or a FILE.template."
        ),
    ],
    title: Annotated[str | None, typer.Option("--title", help="For people.")] = None,
    begin: Annotated[float, typer.Option("--from", min=0, help="Second of the clip it begins at.")] = 0.0,
    end: Annotated[float | None, typer.Option("--to", help="Second of the clip it ends at.")] = None,
    head: Annotated[bool, typer.Option(help="Keep the head's motion.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a template of that name.")] = False,
    data_dir: DataOption = None,
) -> None:
    """Make a template of what a face does in a clip; nothing of whose face it is is kept.

    Best is a clip of a second or two that begins at rest and ends with the expression.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from models.templates.create import template_of_clip
    from models.templates.errors import TemplateError
    from models.templates.library import builtin_templates
    from models.templates.template import NAME_PATTERN, SUFFIX, save_template
    from server.animation.clip import read_clip
    from server.animation.errors import AnimationError

    if end is not None and end <= begin:
        _fail("option_invalid", f"--to {end:g} must be after --from {begin:g}.")
    as_file = out.endswith(SUFFIX)
    name = (Path(out).stem if as_file else out).lower()
    if not NAME_PATTERN.match(name):
        _fail("template_name", f"{out!r}: a name is of letters, digits, - and _, 40 at most.")
    if name in {template.name for template in builtin_templates()}:
        _fail("template_exists", f"{name} is the name of a built-in template; choose another.")
    path = Path(out) if as_file else _folder(data_dir) / f"{name}{SUFFIX}"
    if path.exists() and not force:
        _fail("template_exists", f"There is already a template {path.name}; give another name, or --force.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("reading the clip", total=None)
            read = read_clip(clip, progress=lambda done, total: bar.update(task, completed=done, total=total))
        chosen = [
            (time, points)
            for time, points in zip(read.times, read.landmarks, strict=True)
            if time >= begin and (end is None or time <= end)
        ]
        if not chosen:
            length = len(read.landmarks) / read.fps
            _fail("option_invalid", f"--from {begin:g}: the clip is {length:.1f} s long.")
        if not any(points is not None for _, points in chosen):
            _fail("driver_no_face", "That part of the clip shows no face.")
        made = template_of_clip(
            name, [points for _, points in chosen], [time for time, _ in chosen], title=title, head=head
        )
        if not as_file:
            path.parent.mkdir(parents=True, exist_ok=True)
        save_template(made, path, replace=force)
    except (AnimationError, TemplateError) as error:
        _fail(error.code, error.message)
    except OSError as error:
        _fail("cannot_write", f"{path} cannot be written: {error.strerror or error}.")
    typer.echo(f"{path}: {made.seconds:.1f} s, {path.stat().st_size / 1024:.0f} KB")


@app.command()
def sheet(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The picture, FILE.jpg.")],
    targets: Annotated[
        list[str] | None, typer.Option("--target", help="Built-in targets; eight of them when left out.")
    ] = None,
    side: Annotated[int, typer.Option("--side", min=64, max=512, help="Pixels a side of each face.")] = 150,
) -> None:
    """Draw every built-in template on several targets (docs/templates.jpg)."""
    from server.animation.errors import AnimationError
    from server.animation.sheet import SHEET_TARGETS, draw_sheet

    try:
        draw_sheet(out, targets or list(SHEET_TARGETS), side)
    except AnimationError as error:
        _fail(error.code, error.message)
    except OSError as error:
        _fail("cannot_write", f"{out} cannot be written: {error.strerror or error}.")
    typer.echo(f"{out}: {out.stat().st_size / 1024:.0f} KB")


def _folder(data_dir: Path | None) -> Path:
    from server.cli import load

    return (data_dir or load(None, None).settings.data_dir) / "templates"


def _fail(code: str, message: str) -> NoReturn:
    typer.secho(f"{message} ({code})", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)
