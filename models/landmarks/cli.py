"""``understudy landmarks``: tools for people who study faces."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from models.landmarks.extraction import ExtractedTrack, ExtractionOptions, LeftOut

T = TypeVar("T")

app = typer.Typer(
    help="Landmarks: who a face is, and what it does.", no_args_is_help=True, rich_markup_mode="markdown"
)


@app.callback()
def landmarks() -> None:
    """Landmarks: who a face is, and what it does."""


@app.command()
def separate(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Videos of one person each.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where report.html is written.")],
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="FILE", help="The landmarks; else DIR/landmarks.safetensors."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Processes; else one for each processor.")
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Keep one frame in this many.")] = 1,
    crops: Annotated[
        int,
        typer.Option("--crops", min=0, max=512, help="Keep aligned faces of this size too (for training)."),
    ] = 0,
) -> None:
    """Split every landmark of the videos into average + identity + expression.

    Extracts and normalises the 478 face landmarks of every frame, separates them, stores all of it
    in one safetensors file and draws it in DIR/report.html. A video that shows no face or two, or that cannot
    be decoded, is named and left out.
    """
    from models.landmarks.extraction import ExtractionOptions

    target = store or out / "landmarks.safetensors"
    if target.is_dir():
        _fail(f"{target} is a folder; --store names a file.")
    with _folder(out), _folder(target.parent):
        try:
            _separate(videos, out, target, workers, ExtractionOptions(every=every, crop_size=crops))
        except OSError as error:  # the disk may be full by now
            _fail(f"{error.filename or out}: {error.strerror or error}.")


def _separate(
    videos: list[Path], out: Path, target: Path, workers: int | None, options: ExtractionOptions
) -> None:
    from models.landmarks.extraction import ExtractedTrack, extract_all

    count = workers or min(os.cpu_count() or 1, len(videos))
    with tempfile.TemporaryDirectory(prefix=".landmarks-", dir=out) as folder:
        results = _with_bar(
            "extracting",
            lambda progress: extract_all(
                videos,
                Path(folder),
                options,
                workers=count,
                progress=progress,
            ),
        )
        tracks = [result for result in results if isinstance(result, ExtractedTrack)]
        left_out = [result for result in results if not isinstance(result, ExtractedTrack)]
        for problem in left_out:
            typer.secho(f"left out: {problem.video} {problem.reason}", err=True, fg=typer.colors.YELLOW)
        if not tracks:
            typer.secho("No video was left to separate.", err=True, fg=typer.colors.RED)
            raise typer.Exit(1)
        _store_and_report(tracks, left_out, target, out / "report.html", options.crop_size, count)


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder that can be written to; if what it is for fails, what was made goes again if empty."""
    made = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]  # rights may be missing
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except (FileExistsError, NotADirectoryError):
            _fail(f"{path} is no folder.")
        except OSError as error:
            _fail(f"Nothing can be written to the folder {path}: {error.strerror or error}.")
        yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


def _fail(sentence: str) -> NoReturn:
    typer.secho(sentence, err=True, fg=typer.colors.RED)
    raise typer.Exit(2)


def _store_and_report(
    tracks: list[ExtractedTrack],
    left_out: list[LeftOut],
    target: Path,
    report: Path,
    crops: int,
    workers: int,
) -> None:
    from models.landmarks.report import write_report
    from models.landmarks.separation import FileTrack, separate_streaming
    from models.landmarks.store import LandmarkStore, Source, write_store

    sources = [FileTrack(str(track.landmarks)) for track in tracks]
    # starting processes pays only for many videos
    processes = workers if len(sources) >= 64 else 1
    separation = _with_bar(
        "separating", lambda progress: separate_streaming(sources, workers=processes, progress=progress)
    )
    write_store(
        target,
        separation,
        [source.chunks() for source in sources],
        [track.frames for track in tracks],
        [Source(track.video.name, len(track.frames), track.fps) for track in tracks],
        crops=[FileTrack(str(track.crops)).chunks() for track in tracks] if crops else None,
        crop_size=crops,
        notes={"left_out": [[str(item.video.name), item.reason] for item in left_out]},
    )
    written = LandmarkStore.open(target)
    write_report(report, written, [(str(item.video), item.reason) for item in left_out])
    typer.echo(
        f"{len(tracks)} videos, {len(written.video)} frames: {target}, {report}"
        + (f"; {len(left_out)} left out" if left_out else "")
    )


def _with_bar(title: str, work: Callable[[Callable[[int, int], None]], T]) -> T:
    """Run ``work`` under a progress bar; it is handed what to tell (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        return work(lambda done, total: bar.update(task, completed=done, total=total))
