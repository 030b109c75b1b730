"""The ``understudy`` command: reads settings, then hands over to the part that does the work.

Only what a verb needs is imported, and only when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from models.evaluation.cli import app as evaluate
from models.landmarks.cli import app as landmarks
from models.training.cli import app as train
from models.training.dataset_cli import app as dataset
from server.animation.cli import animate
from server.animation.template_cli import app as template
from server.bench.cli import app as bench
from server.loadtest.cli import loadtest
from server.provenance_command import app as provenance

if TYPE_CHECKING:
    from server.settings_sources import LoadedSettings

USAGE_ERROR = 2
OUTPUT_LOST = 1
_LOSSES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}

app = typer.Typer(
    name="understudy",
    help="Video calls in which each is seen behind a target face that moves as they do.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # its tracebacks print local variables, secrets among them
    context_settings={"help_option_names": ["-h", "--help"]},
)
audit = typer.Typer(help="The log of who did what.", no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(bench, name="bench")
app.add_typer(audit, name="audit")
app.add_typer(landmarks, name="landmarks")
app.add_typer(dataset, name="dataset")
app.add_typer(train, name="train")
app.add_typer(evaluate, name="evaluate")
app.add_typer(template, name="template")
app.add_typer(provenance, name="provenance")
app.command()(animate)
app.command()(loadtest)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings file (TOML); else ./understudy.toml."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NAME=VALUE", help="Any setting; see `understudy settings`."),
]
HostOption = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]
PortOption = Annotated[int | None, typer.Option("--port", "-p", help="Port of the page and signaling.")]
DataOption = Annotated[Path | None, typer.Option("--data-dir", help="Folder of prepared targets.")]
LogOption = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"understudy {version('understudy')}")
        raise typer.Exit


@app.callback()
def understudy(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Video calls in which each is seen behind a target face that moves as they do."""


@app.command()
def serve(
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    data_dir: DataOption = None,
    log_level: LogOption = None,
    settings: SetOption = None,
) -> None:
    """Run everything on this machine: page, signaling, media worker, inference. Ctrl-C ends it all.

    Settings come from the command line, from UNDERSTUDY_* in the environment and from a TOML file, in
    this order; `understudy settings` lists them all with their present values.
    """
    loaded = load(config, settings, host=host, port=port, data_dir=data_dir, log_level=log_level)
    from server.serve import run_serve

    raise typer.Exit(run_serve(loaded.settings))


@app.command()
def signaling(
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    data_dir: DataOption = None,
    log_level: LogOption = None,
    settings: SetOption = None,
) -> None:
    """Run page, targets and signaling only; media workers register from elsewhere (`worker_secret`)."""
    loaded = load(config, settings, host=host, port=port, data_dir=data_dir, log_level=log_level)
    _need_secret(loaded)
    from server.serve import run_signaling

    raise typer.Exit(run_signaling(loaded.settings))


@app.command()
def worker(
    config: ConfigOption = None,
    data_dir: DataOption = None,
    log_level: LogOption = None,
    settings: SetOption = None,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Run one media worker that registers with the signaling server at `signaling_url`."""
    loaded = load(config, settings, data_dir=data_dir, log_level=log_level)
    _need_secret(loaded)
    from server.serve import run_media_worker

    raise typer.Exit(run_media_worker(loaded.settings, child=child))


@app.command()
def token(
    room: Annotated[
        str | None, typer.Argument(help="The room it leads to; a host's may name none.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name that others see.")] = None,
    host_role: Annotated[bool, typer.Option("--host", help="For any room, and for making new ones.")] = False,
    hours: Annotated[float, typer.Option("--hours", min=0.01, max=8784, help="Good for this long.")] = 1.0,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Print a link to this address instead.")
    ] = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Print a new key for UNDERSTUDY_JOIN_KEY instead.")
    ] = False,
) -> None:
    """Make a join token: with it one person, or those one gives it to, may enter a room."""
    if new_key:
        import secrets

        typer.echo(secrets.token_urlsafe(32))
        return
    loaded = load(config, settings)
    key = loaded.settings.join_key.get_secret_value()
    if not key:
        _fail("join_key: not set, so everybody may enter. `understudy token --new-key` makes one.")
    from server.token_command import make_token

    typer.echo(make_token(key, room=room, name=name, is_host=host_role, hours=hours, url=url))


@audit.command("show")
def audit_show(
    config: ConfigOption = None,
    settings: SetOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="The newest so many.")] = 50,
    hours: Annotated[float | None, typer.Option("--hours", min=0, help="Of the last so many hours.")] = None,
    room: Annotated[str | None, typer.Option("--room", help="Of this room.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Of this target (its id or hash).")] = None,
    event: Annotated[str | None, typer.Option("--event", help="Such as room.entered.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show who was in which room behind which target, the newest last."""
    loaded = load(config, settings)
    from server.audit.commands import show

    show(loaded.settings, limit=limit, hours=hours, room=room, target=target, event=event, as_json=as_json)


@audit.command("purge")
def audit_purge(
    config: ConfigOption = None,
    settings: SetOption = None,
    days: Annotated[
        float | None, typer.Option("--days", min=0, help="Older than this; else `audit_retention_days`.")
    ] = None,
) -> None:
    """Delete old entries now; a running service does so every hour by itself."""
    loaded = load(config, settings)
    from server.audit.commands import purge

    purge(loaded.settings, days)


@app.command()
def forget(
    target: Annotated[str, typer.Argument(help="Id of an uploaded target.")],
    config: ConfigOption = None,
    settings: SetOption = None,
    data_dir: DataOption = None,
) -> None:
    """Delete all that concerns a target: pictures, landmarks, consent, and all that was logged of it."""
    loaded = load(config, settings, data_dir=data_dir)
    from server.audit.commands import forget_target

    forget_target(loaded.settings, target)


@app.command("settings")
def show_settings(
    config: ConfigOption = None,
    settings: SetOption = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Print a settings file to start from instead.")
    ] = False,
) -> None:
    """List every setting: what it means, its default, its present value and where that came from."""
    from server.settings import Settings
    from server.settings_sources import sample_file, shown

    if sample:
        typer.echo(sample_file(), nl=False)
        return
    loaded = load(config, settings)

    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("setting", "value", "meaning", box=SIMPLE, title="Settings of Understudy")
    for name, field in Settings.model_fields.items():
        value = escape(shown(name, getattr(loaded.settings, name)))
        meaning = escape(str(field.description))
        if origin := loaded.origins.get(name):
            default = shown(name, field.get_default(call_default_factory=True))
            meaning += escape(f"\n(given by {origin}; default {default})")
        table.add_row(name, value, meaning, style="bold" if origin else "")
    Console().print(table)


@bench.command("call")
def bench_call(
    config: ConfigOption = None,
    settings: SetOption = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=600, help="How long each load is measured.")
    ] = 10.0,
    max_drivers: Annotated[
        int, typer.Option("--max-drivers", min=1, max=256, help="The most drivers tried.")
    ] = 16,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there as well.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw cost and frame age: PNG, WebP, SVG or PDF."),
    ] = None,
) -> None:
    """Drivers in calls on this machine: 1, 2, 4, 8 ... until the frame rate falls under 20.

    Starts the real service on a free port and meets it with synthetic drivers, two to a room and in a call
    with each other, that send a pre-encoded film by WebRTC and count the pictures that come back. They run
    on the same machine: what they take of it stands in the last column.

    - **fps**: pictures of the peer received a second, the median and the least of all streams
    - **new fps**: generated pictures a second and driver; the others repeat a former one
    - **age**: from the driver's decoded camera frame until its picture is handed to the encoder
    - **frame**: the part of this from decoded frame to generated frame
    - **lag**: how late the worker's event loop runs
    - **CPU**: cores of the whole service, for each driver and in all, and of the synthetic drivers
    """
    loaded = load(config, settings)
    from server.bench.report import run_call_benchmark

    run_call_benchmark(
        loaded.settings, seconds=seconds, max_drivers=max_drivers, json_file=json_file, plot_file=plot
    )


def load(config: Path | None, assignments: list[str] | None, **options: Any) -> LoadedSettings:
    """Settings of all sources; whatever is wrong with them ends the command with a sentence for each."""
    from server.settings_sources import SettingsError, load_settings

    overrides: dict[str, object] = {}
    for assignment in assignments or []:
        name, equals, value = assignment.partition("=")
        if not equals:
            _fail(f"--set {assignment}: write it as NAME=VALUE.")
        overrides[name.strip()] = value.strip()
    overrides.update({name: value for name, value in options.items() if value is not None})
    try:
        return load_settings(config, overrides)
    except SettingsError as error:
        _fail(*error.problems, "See `understudy settings --help` and understudy.example.toml.")


def _need_secret(loaded: LoadedSettings) -> None:
    if not loaded.settings.worker_secret.get_secret_value():
        _fail(
            "worker_secret: not set. Signaling and its workers must share one: "
            "put the same UNDERSTUDY_WORKER_SECRET into the environment of each."
        )


def _fail(*sentences: str) -> NoReturn:
    for sentence in sentences:
        typer.secho(sentence, err=True, fg=typer.colors.RED)
    raise SystemExit(USAGE_ERROR)


def main() -> None:
    """Entry point: runs the command; a mistake of the user ends in a sentence, never in a traceback."""
    from server.errors import UserError

    try:
        try:
            app()
        finally:
            _flush()  # the interpreter's end would only complain about it
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        _end_if_output_is_lost(error)
        raise


def _flush() -> None:
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _end_if_output_is_lost(error: OSError) -> None:
    """End with a sentence where standard output takes nothing any more: its disk is full, as a rule."""
    if error.errno not in _LOSSES or error.filename is not None or sys.stdout is None:
        return
    try:  # was it this file, or another one? Unbuffered, nothing is left of what was not written.
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        pass
    else:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # the interpreter flushes at its end what it still has
    if error.errno != errno.EPIPE:  # who reads has had enough
        reason = error.strerror or error
        try:
            typer.secho(f"Standard output cannot be written: {reason}.", err=True, fg=typer.colors.RED)
        except OSError:  # standard error goes to the same disk
            os.dup2(nowhere, sys.stderr.fileno())
    raise SystemExit(OUTPUT_LOST) from None


if __name__ == "__main__":
    main()
