"""``understudy bench frame`` and ``understudy bench generator``: figures of the models on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.generator import Generator
    from server.bench.stages import Times

app = typer.Typer(help="Measure this machine.", no_args_is_help=True, rich_markup_mode="markdown")


class Name(StrEnum):
    """Generators; a network goes by the name of its runtime."""

    MESH_WARP = "mesh-warp"
    TORCH = "torch"
    OPENVINO_F32 = "openvino-f32"
    OPENVINO_BF16 = "openvino-bf16"


SizeOption = Annotated[int, typer.Option("--size", help="Pixels a side of the picture: 256 or 512.")]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")
]
CompareOption = Annotated[
    Path | None,
    typer.Option("--compare", metavar="FILE", help="Show the change since a result that --json wrote."),
]
GeneratorOption = Annotated[
    list[Name] | None,
    typer.Option("--generator", "-g", help="Which ones; a network's name is its runtime's."),
]


@app.command("frame")
def frame(
    size: SizeOption = 256,
    generator: Annotated[
        Name, typer.Option("--generator", "-g", help="See `bench generator`.")
    ] = Name.MESH_WARP,
    frames: Annotated[int, typer.Option("--frames", min=10, help="Frames that are measured.")] = 200,
    json_file: JsonOption = None,
    compare: CompareOption = None,
) -> None:
    """Each step of a driver's frame in the inference process: wall-clock and processor time in milliseconds.

    A synthetic driver (640x480), one target, one frame at a time, nothing else of a call.
    """
    from rich.progress import Progress

    from server.bench.stages import time_frame

    before = _read(compare)
    made = _generators([generator], size)
    with Progress(transient=True) as progress:
        task = progress.add_task("frames", total=1.0)
        times = time_frame(
            made[0], frames=frames, progress=lambda share: progress.update(task, completed=share)
        )
    _show("step", times, before)
    _write(json_file, times)


@app.command("generator")
def generator(
    names: GeneratorOption = None,
    size: SizeOption = 256,
    batches: Annotated[
        str, typer.Option("--batch", help="Batch sizes, as 1,4,16; more than 1 only where it pays.")
    ] = "1",
    rounds: Annotated[int, typer.Option("--rounds", min=3, help="Repetitions of each.")] = 30,
    json_file: JsonOption = None,
    compare: CompareOption = None,
) -> None:
    """Generators by themselves, with every runtime that is installed: milliseconds a frame.

    Networks are untrained, of `lite.yaml`'s size: what they cost does not depend on what they learned.
    """
    from rich.console import Console

    from server.bench.stages import peak_gflops, time_generator

    before = _read(compare)
    try:
        sizes = sorted({int(part) for part in batches.split(",")})
        if sizes[0] < 1:
            raise ValueError
    except ValueError:
        raise typer.BadParameter(f"--batch {batches}: write numbers, as 1,4,16.") from None
    times: list[Times] = []
    console = Console(highlight=False)
    for made in _generators(names or list(Name), size):
        with console.status(made.name):
            times += time_generator(made, sizes if made.best_batch > 1 else sizes[:1], rounds=rounds)
    _show("generator", times, before)
    operations = _lite_gflops()
    peak = peak_gflops()
    console.print(
        f"The lite network is {operations:.1f} GFLOPs a frame; a large convolution in torch f32 reached "
        f"{peak:.0f} GFLOP/s here."
    )
    _write(json_file, times)


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

    from server.bench.stages import time_command

    before = _read(compare)
    name = f"{seconds:g} s clip, {size} pixels"
    order = [
        "animate",
        "astronaut",
        "-t",
        "happy",
        "--fps",
        "25",
        "--size",
        str(size),
        "--seconds",
        str(seconds),
    ]
    times = [time_command(name, order, track(range(rounds), transient=True))]
    _show("animate", times, before)
    _write(json_file, times)


def _generators(names: Sequence[Name], size: int) -> list[Generator]:
    """Those that can be made here; what cannot is said and left out."""
    from models.marionette.generator import MarionetteGenerator
    from models.mesh_warp import MeshWarpGenerator

    if size not in (256, 512):
        raise typer.BadParameter(f"--size must be 256 or 512, not {size}.")
    made: list[Generator] = []
    for name in names:
        if name is Name.MESH_WARP:
            made.append(MeshWarpGenerator(size))
        elif name is Name.TORCH:
            made.append(MarionetteGenerator(_lite(), size))
        else:
            try:
                from models.marionette.openvino_runtime import OpenVinoRuntime

                runtime = OpenVinoRuntime(_lite(), "bf16" if name is Name.OPENVINO_BF16 else "f32")
            except ImportError:
                typer.echo(
                    f"{name}: left out, OpenVINO is not installed (pip install 'understudy[openvino]')."
                )
                continue
            made.append(MarionetteGenerator(runtime, size))
    if not made:
        raise typer.Exit(1)
    return made


def _lite() -> Any:
    """An untrained network of the size that is meant for CPUs."""
    from models.marionette.network import MarionetteNetwork
    from models.training.generator import TrainingConfig

    folder = Path(__file__).parents[2] / "models" / "training" / "configs"
    return MarionetteNetwork(TrainingConfig.load(folder / "lite.yaml").network).eval()


def _lite_gflops() -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network = _lite()
    config = network.config
    size = config.size
    photos, maps = torch.zeros(1, 1, 3, size, size), [torch.zeros(1, 6, r, r) for r in config.resolutions]
    with torch.inference_mode():
        code = network.encode_target(photos, photos, maps[-1][:, None], torch.ones(1, 1, dtype=torch.bool))
        with FlopCounterMode(display=False) as counter:
            aligned = network.align(code, torch.zeros(1, 3, size // 2, size // 2), maps)
            network.decoder.synthesise(aligned.u, photos[:, 0])
    return float(counter.get_total_flops()) / 1e9


def _show(what: str, times: Sequence[Times], before: dict[tuple[str, int], float]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    table.add_column(what, no_wrap=True)
    for column in ("batch", "p50 ms", "p95 ms", "CPU ms", *(["since"] if before else [])):
        table.add_column(column, justify="right")
    for one in times:
        cells = [str(one.batch), f"{one.p50_ms:.2f}", f"{one.p95_ms:.2f}", f"{one.cpu_ms:.2f}"]
        if before:
            former = before.get((one.name, one.batch))
            cells.append(f"{100 * (one.p50_ms / former - 1):+.0f} %" if former else "")
        table.add_row(one.name, *cells)
    Console(highlight=False).print(table)


def _read(path: Path | None) -> dict[tuple[str, int], float]:
    """Median times of a former result, by name and batch."""
    if path is None:
        return {}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        return {(one["name"], one["batch"]): float(one["p50_ms"]) for one in results}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise typer.BadParameter(f"--compare {path}: no result of this command ({error}).") from None


def _write(path: Path | None, times: Sequence[Times]) -> None:
    if path is None:
        return
    from server.bench.call import machine
    from server.bench.stages import as_json

    try:
        path.write_text(as_json(machine(), times) + "\n", encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"--json {path}: cannot be written ({error.strerror}).") from None
