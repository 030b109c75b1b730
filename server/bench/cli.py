"""``understudy bench ...``: figures of the models and of the inference process on this machine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from server.bench.files import require_writable
from server.bench.networks import Name

app = typer.Typer(help="Measure this machine.", no_args_is_help=True, rich_markup_mode="markdown")

SizeOption = Annotated[int, typer.Option("--size", help="Pixels a side of the picture: 256 or 512.")]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")
]
CompareOption = Annotated[
    Path | None,
    typer.Option("--compare", metavar="FILE", help="Show the change since a result that --json wrote."),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw the figures: PNG, WebP, SVG or PDF.")
]
GeneratorOption = Annotated[
    Name | None,
    typer.Option(
        "--generator",
        "-g",
        help="Which one; a network's name is its runtime's. If left out, what calls have on a machine "
        "that is quick enough.",
    ),
]
ThreadsOption = Annotated[
    int, typer.Option("--threads", min=1, help="Of the runtime; the inference process gives it 1.")
]
FramesOption = Annotated[int, typer.Option("--frames", min=10, help="Frames that are measured.")]


@app.callback()
def single_threaded_algebra() -> None:
    """Measure this machine."""
    # as in the inference process: several threads wait for each other by spinning
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@app.command("frame")
def frame(
    size: SizeOption = 256,
    generator: GeneratorOption = None,
    frames: FramesOption = 200,
    threads: ThreadsOption = 1,
    json_file: JsonOption = None,
    compare: CompareOption = None,
) -> None:
    """Each step of a driver's frame in the inference process: wall-clock and processor time in milliseconds.

    A synthetic driver (640x480), one target, one frame at a time, nothing else of a call.
    """
    from server.bench.networks import make_generator
    from server.bench.results import read_former, show, write
    from server.bench.runtime_process import use_threads
    from server.bench.stages import time_frame

    require_writable(json_file=json_file)
    before = read_former(compare)
    name = _one(generator)
    use_threads(name, threads)
    made = make_generator(name, _checked(size), threads)
    with _Bar() as bar:
        times = time_frame(made, frames=frames, progress=bar.share)
    show(f"step ({name})", times, before)
    write(json_file, {"generator": name, "threads": threads, "results": times})


@app.command("landmarks")
def landmarks(
    frames: FramesOption = 200, json_file: JsonOption = None, compare: CompareOption = None
) -> None:
    """From camera picture to a target's landmarks: detector, smoothing, pose, identity, retargeting.

    The detector is measured as it follows a face from frame to frame and as it finds one anew in each.
    """
    from server.bench.results import read_former, show, write
    from server.bench.stages import time_landmarks

    require_writable(json_file=json_file)
    before = read_former(compare)
    with _Bar() as bar:
        times = time_landmarks(frames=frames, progress=bar.share)
    show("step", times, before)
    write(json_file, {"results": times})


@app.command("generator")
def generator(
    names: Annotated[
        list[Name] | None,
        typer.Option("--generator", "-g", help="Which ones; a network's name is its runtime's."),
    ] = None,
    size: SizeOption = 256,
    batches: Annotated[str, typer.Option("--batch", help="Frames generated together, as 1,4,16.")] = "1",
    rounds: Annotated[int, typer.Option("--rounds", min=3, help="Frames of each.")] = 30,
    threads: ThreadsOption = 1,
    json_file: JsonOption = None,
    compare: CompareOption = None,
) -> None:
    """Generators by themselves, with every runtime that is installed, each in a process of its own.

    Networks have the shipped weights. Runtimes that do not batch make the frames of a batch one by one.

    - **of peak**: the network's operations in a whole frame's time (drawing and conversions are in the time),
      of what a large convolution reaches in the same runtime, precision, number of threads and process
    - **MiB**: the most memory the process had so far; **KiB target**: arrays that a cached target holds
    """
    from server.bench.results import read_former, show, write
    from server.bench.runtime_process import measure_generator

    require_writable(json_file=json_file)
    before = read_former(compare)
    sizes, chosen = _numbers(batches, "--batch"), _here(names or list(Name))
    times = []
    with _Bar() as bar:
        for index, name in enumerate(chosen):
            bar.update(name, index / len(chosen))
            times += measure_generator(name, _checked(size), sizes, rounds, threads)
    show("generator", times, before)
    write(json_file, {"threads": threads, "size": size, "results": times})


@app.command("batching")
def batching(
    generator: GeneratorOption = None,
    drivers: Annotated[
        str, typer.Option("--drivers", help="Numbers of drivers, each measured by itself.")
    ] = "1,2,4,8,16,32,64",
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=3600, help="How long each is measured.")
    ] = 5.0,
    fps: Annotated[float, typer.Option("--fps", min=1, max=60, help="Of the drivers' cameras.")] = 25.0,
    size: SizeOption = 256,
    json_file: JsonOption = None,
    compare: CompareOption = None,
    plot: PlotOption = None,
) -> None:
    """The inference process by itself under 1 to 64 synthetic drivers: how fairly and how late it serves.

    No network and no codec: frames go through the real mailboxes into a real inference process.

    - **new fps**: new pictures a second of a driver: mean, least and most over the drivers
    - **age**: of the driver's frame when its picture came
    - **gap**: the longest time from one new picture of a driver to its next
    - **own**: landmarks and the batch's generation; **waiting**: the rest of the age
    - **CPU**: cores of the inference process and, in brackets, of the synthetic drivers
    """
    from server.bench.batching import Batching
    from server.bench.batching_report import read_former, show
    from server.bench.results import write

    require_writable(json_file=json_file, plot=plot)
    before = read_former(compare)
    loads, name = _numbers(drivers, "--drivers"), _one(generator)
    with _Bar() as bar:
        benchmark = Batching(name, _checked(size), loads, seconds, fps, bar.update)
        rows = asyncio.run(benchmark.run())
    show(rows, before)
    write(json_file, {"generator": name, "size": size, "fps": fps, "rows": rows})
    if plot is not None:
        from server.bench.plots import plot_batching

        plot_batching(rows, plot, title=f"{name}, {size} pixels, cameras at {fps:g} frames a second")


@app.command("latency")
def latency(
    generator: GeneratorOption = None,
    size: SizeOption = 256,
    seconds: Annotated[float, typer.Option("--seconds", min=2, help="Of each measurement.")] = 15.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of identity and generator.")] = 2,
    json_file: JsonOption = None,
    compare: CompareOption = None,
) -> None:
    """From camera to the peer's screen, in two real browsers; with the generator, and with a still for it.

    Needs Chromium and Playwright. The camera's film carries frame numbers, which a media worker of this
    benchmark's own draws anew on the generated pictures; `understudy serve` has no such way.

    - **identity**: the same call with the target's still in place of landmarks and generation
    - **peer fps**: different frames seen at the peer; **camera fps**: frames of the camera
    - **first picture**: from both pages' opening to the first generated picture of both, at its best
    """
    from server.bench.latency import Latency, measure_start
    from server.bench.latency_report import show_latency
    from server.bench.results import read_former, write

    require_writable(json_file=json_file)
    before, name = read_former(compare), _one(generator)
    with _Bar() as bar:
        bar.update("starting the service as it is", 0.0)
        start = measure_start()
        rows = Latency(name, _checked(size), seconds, rounds, bar.update).run()
    show_latency(rows, start, before)
    results = [{"name": row.mode, "batch": 1, "p50_ms": row.p50_ms} for row in rows]
    write(json_file, {"generator": name, "start": start, "rows": rows, "results": results})


@app.command("all")
def everything(
    quick: Annotated[
        bool, typer.Option("--quick", help="Short measurements: to see that all works, not for figures.")
    ] = False,
    size: SizeOption = 256,
    browsers: Annotated[
        bool, typer.Option("--browsers/--no-browsers", help="With `bench latency`, which needs Chromium.")
    ] = True,
    json_file: JsonOption = None,
    compare: CompareOption = None,
) -> None:
    """All that can be measured here, one after the other, with one file of results.

    Landmarks, each step of a frame with every generator, generators in processes of their own, batching,
    calls, and latency in browsers. Takes about ten minutes.
    """
    from server.bench.everything import Everything
    from server.bench.results import parts_of

    require_writable(json_file=json_file)
    parts_of(compare)  # what is wrong with it is said now, not when all is measured
    with _Bar() as bar:
        everything = Everything(_checked(size), _here(list(Name)), quick, browsers, bar.update)
        everything.run()
    try:
        everything.write(json_file)
    finally:  # neither loses what the other could not show
        everything.show(compare)


@app.command("animate")
def animate(
    seconds: Annotated[float, typer.Option("--seconds", min=0.2, help="Length of the clip.")] = 2.0,
    size: SizeOption = 256,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Repetitions.")] = 5,
    json_file: JsonOption = None,
    compare: CompareOption = None,
) -> None:
    """A photo brought to life, 25 frames a second: the whole command, its start included.

    Milliseconds a *clip*, not a frame.
    """
    from rich.progress import track

    from server.bench.results import read_former, show, write
    from server.bench.stages import time_command

    require_writable(json_file=json_file)
    before = read_former(compare)
    name = f"{seconds:g} s clip, {size} pixels"
    order = ["animate", "astronaut", "-t", "happy", "--fps", "25"]
    order += ["--size", str(size), "--seconds", str(seconds)]
    times = [time_command(name, order, track(range(rounds), transient=True))]
    show("animate", times, before)
    write(json_file, {"results": times})


class _Bar:
    """A progress bar that goes away when all is done."""

    def __enter__(self) -> _Bar:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
        self._progress = Progress(*columns, transient=True)
        self._task = self._progress.add_task("", total=1.0)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def share(self, share: float) -> None:
        """So much of all is done, 0..1."""
        self._progress.update(self._task, completed=share)

    def update(self, doing: str, share: float) -> None:
        """What is being done, and how much of all is done."""
        self._progress.update(self._task, description=doing, completed=share)


def _checked(size: int) -> int:
    if size not in (256, 512):
        raise typer.BadParameter(f"--size must be 256 or 512, not {size}.")
    return size


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in text.split(",")})
        if numbers[0] < 1:
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f"{option} {text}: write numbers, as 1,4,16.") from None
    return numbers


def _one(name: Name | None) -> Name:
    """The one that was asked for, or what calls have on this machine."""
    from server.bench.networks import usual

    return usual() if name is None else _here([name])[0]


def _here(names: list[Name]) -> list[Name]:
    """Those that can be made here; what cannot is said and left out."""
    from server.bench.networks import installed

    here = installed(names)
    for name in set(names) - set(here):
        typer.echo(f"{name}: left out, OpenVINO is not installed (pip install 'understudy[openvino]').")
    if not here:
        raise typer.Exit(1)
    return here
