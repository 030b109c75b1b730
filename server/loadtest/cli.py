"""``understudy loadtest``: synthetic peers in calls with a running service, or its signaling alone."""

from __future__ import annotations

import asyncio
import math
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer


def loadtest(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Address of the page, as https://meet.example.org.")
    ],
    calls: Annotated[int, typer.Option("--calls", min=1, max=2000, help="Calls, two peers each.")] = 2,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=86400, help="How long all of them run together.")
    ] = 20.0,
    ramp: Annotated[
        float, typer.Option("--ramp", min=0, max=86400, help="Over so many seconds calls begin, evenly.")
    ] = 5.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all that was found there as well.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.png", help="Draw frame rate and latency against calls."),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", help="Join token of all (16 peers at most).")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            envvar="UNDERSTUDY_API_KEY",
            show_envvar=True,
            help="Mint a join token for each room with it.",
        ),
    ] = None,
    room_prefix: Annotated[
        str | None,
        typer.Option("--room-prefix", help="Beginning of the rooms' names; by default drawn at random."),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", help="Be seen behind this one; by default behind the gallery in turn."),
    ] = None,
    min_fps: Annotated[
        float, typer.Option("--min-fps", min=0, help="A peer that gets fewer pictures a second is wrong.")
    ] = 15.0,
    max_freeze: Annotated[
        float, typer.Option("--max-freeze", min=0.1, help="A picture that stands still longer (s) is wrong.")
    ] = 1.0,
    signaling_only: Annotated[
        bool, typer.Option("--signaling-only", help="Only WebSockets: join, call, accept, text, hang up.")
    ] = False,
    terminals: Annotated[
        int, typer.Option("--terminals", min=2, max=50_000, help="With --signaling-only: how many.")
    ] = 2000,
    rooms: Annotated[
        int, typer.Option("--rooms", min=1, max=25_000, help="With --signaling-only: in how many rooms.")
    ] = 1000,
    every: Annotated[
        float,
        typer.Option("--every", min=0.1, help="With --signaling-only: each room calls anew so often (s)."),
    ] = 10.0,
    max_relay_ms: Annotated[
        float,
        typer.Option("--max-relay-ms", min=0.1, help="With --signaling-only: p99 of ringing above is wrong."),
    ] = 20.0,
) -> None:
    """Put load on a running service and check what comes back.

    Synthetic peers meet two to a room: they signal like the page, send a face film, a tone and texts over
    real WebRTC, and look at what they receive: that pictures flow, carry the watermark, show the right target
    and never the driver's own camera; that the sound is the peer's; that each text comes once and in order.
    Whatever is lost, refused or late is counted.

    Exit code 0: all is well; 1: something was lost or wrong; 2: wrong usage, or no such service.
    """
    from server.bench.files import require_writable
    from server.errors import UserError
    from server.loadtest.service import Access, Address

    address, access = Address.of(url), Access(token, api_key)
    prefix = room_prefix or f"load-{secrets.token_hex(4)}"
    if plot is not None and signaling_only:
        raise UserError("--plot: there is nothing to draw with --signaling-only.")
    require_writable(json_file=json_file, plot=plot)
    if signaling_only:
        from server.loadtest.signaling import SignalingLoad, SignalingOptions
        from server.loadtest.signaling_report import show_signaling

        if not 2 * rooms <= terminals <= 8 * rooms:
            raise UserError(f"{terminals} terminals do not fit into {rooms} rooms: 2 to 8 in each.")
        options = SignalingOptions(
            terminals=terminals,
            rooms=rooms,
            seconds=seconds,
            ramp_s=ramp,
            every_s=every,
            room_prefix=prefix,
            max_relay_ms=max_relay_ms,
        )
        raise typer.Exit(show_signaling(SignalingLoad(address, access, options), json_file))
    raise typer.Exit(
        _calls(
            address,
            access,
            {
                "calls": calls,
                "seconds": seconds,
                "ramp_s": ramp,
                "room_prefix": prefix,
                "targets": targets or (),
            },
            (min_fps, max_freeze),
            json_file,
            plot,
        )
    )


def _calls(
    address: Any,
    access: Any,
    options: dict[str, Any],
    bounds: tuple[float, float],
    json_file: Path | None,
    plot_file: Path | None,
) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from server.bench.call import make_film
    from server.loadtest.calls import CallLoad, CallOptions
    from server.loadtest.loop import run
    from server.loadtest.report import number, plot, show, write
    from server.loadtest.results import Bounds, Moment

    console = Console(highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("encoding the synthetic driver's film", total=1.0, now="")

        def on_moment(moment: Moment) -> None:
            age = "" if math.isnan(moment.age_ms_p50) else f", age {moment.age_ms_p50:.0f} ms"
            rates = f"{number(moment.fps_p50, 1)} (least {number(moment.fps_min, 1)}) pictures/s"
            progress.update(task, now=f"{rates}{age}, {moment.cpu:.2f} cores here")

        async def whole() -> Any:
            from server.loadtest.service import look_before

            await look_before(address, options["targets"])  # the film takes seconds
            load = CallLoad(
                address,
                access,
                CallOptions(**options, bounds=Bounds(*bounds)),
                await asyncio.to_thread(make_film),
                on_moment,
                lambda doing, share: progress.update(task, description=doing, completed=share),
            )
            return await load.run()

        report = run(whole())
    show(report, console)
    if json_file is not None:
        write(json_file, report.as_json(), "--json")
    if plot_file is not None:
        plot(report, plot_file)
    return 1 if report.wrong else 0
