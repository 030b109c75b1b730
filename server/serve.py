"""``understudy serve``: page, signaling, media worker and inference as one process group of one command."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Coroutine
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from server.environment import environment_without_settings
from server.errors import UserError
from server.exposure import require_guard
from server.garbage import spare_what_stays
from server.logs import configure_logging
from server.settings import Settings
from server.supervision import SupervisedProcess, die_with_parent
from signaling.admission import is_loopback

if TYPE_CHECKING:
    from aiohttp import web

logger = logging.getLogger(__name__)

#: Everything is to be gone 3 s after Ctrl-C: the worker gets this long, the rest is for connections.
WORKER_DEADLINE_S: Final = 1.8
CONNECTION_DEADLINE_S: Final = 0.5
STOP_DEADLINE_S: Final = 2.7
SLOW_START_S: Final = 30.0


def run_serve(settings: Settings) -> int:
    """Run the whole service until SIGINT or SIGTERM.

    Returns:
        The process's exit status.

    Raises:
        UserError: the address cannot be listened on, others could reach it and would be let in unasked, or
            nothing can be kept in ``data_dir``.
    """
    configure_logging(settings.log_level, "serve", settings.log_format)
    require_guard(settings)
    _require_data_dir(settings.data_dir)
    with _listening_socket(settings) as listener:
        return _run(_serve(settings, listener))


def run_signaling(settings: Settings) -> int:
    """Run page, targets API and signaling without a media worker, until SIGINT or SIGTERM.

    Raises:
        UserError: the address cannot be listened on, others could reach it and would be let in unasked, or
            nothing can be kept in ``data_dir``.
    """
    configure_logging(settings.log_level, "signaling", settings.log_format)
    require_guard(settings)
    _require_data_dir(settings.data_dir)
    with _listening_socket(settings) as listener:
        return _run(_signaling(settings, listener))


def run_media_worker(settings: Settings, *, child: bool) -> int:
    """Run one media worker until SIGINT or SIGTERM.

    Args:
        child: it belongs to ``understudy serve`` and ends with it.
    """
    configure_logging(settings.log_level, "worker", settings.log_format)
    if child:
        die_with_parent()
    from server.worker_process import run_worker

    return _run(run_worker(settings))


def _run(main: Coroutine[Any, Any, int | None]) -> int:
    factory = None
    if sys.platform != "win32":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main) or 0


async def _serve(settings: Settings, listener: socket.socket) -> int:
    secret = settings.worker_secret.get_secret_value() or secrets.token_urlsafe(32)
    host, port = listener.getsockname()[:2]
    settings = settings.model_copy(
        update={
            "port": port,
            "worker_secret": type(settings.worker_secret)(secret),
            "signaling_url": f"ws://{_reachable(host)}:{port}/worker",
            "metrics_port": settings.metrics_port or free_port(),
            "drain_s": 0.0,  # one command: who stops it, stops its calls
        }
    )
    stopping = _stop_signal()
    # The worker loads its libraries while this process loads its own.
    worker = SupervisedProcess(
        "media worker",
        [sys.executable, "-m", "server.cli", "worker", "--child"],
        worker_environment(settings),
    )
    supervising = asyncio.create_task(worker.run(), name="supervise-worker")
    try:
        runner = await _listen(settings, listener, needs_worker=True)
        spare_what_stays()
        announcing = asyncio.create_task(_announce(settings), name="announce")
        try:
            await asyncio.wait(
                {asyncio.create_task(stopping.wait()), supervising}, return_when="FIRST_COMPLETED"
            )
        finally:
            announcing.cancel()
            logger.info("Stopping.")
            supervising.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_DEADLINE_S):
                    await asyncio.gather(worker.stop(WORKER_DEADLINE_S), runner.cleanup())
    finally:
        supervising.cancel()
        await worker.stop(WORKER_DEADLINE_S)
    if not supervising.cancelled() and supervising.done() and (error := supervising.exception()):
        raise error
    return 0


def worker_environment(settings: Settings) -> dict[str, str]:
    """The media worker's environment: this process's own, but of the settings only what it needs."""
    return {**environment_without_settings(), **settings.environment()}


async def _signaling(settings: Settings, listener: socket.socket) -> int:
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    stopping = _stop_signal()
    runner = await _listen(settings, listener, needs_worker=False)
    spare_what_stays()
    logger.info("Listening on %s; workers register at /worker.", page_url(settings))
    await stopping.wait()
    await runner.cleanup()
    return 0


async def _listen(settings: Settings, listener: socket.socket, *, needs_worker: bool) -> web.AppRunner:
    from aiohttp import web

    from server.app import RUNNER_OPTIONS
    from server.composition import compose

    options = {**RUNNER_OPTIONS, "shutdown_timeout": CONNECTION_DEADLINE_S}
    app = compose(settings, needs_worker=needs_worker)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, **options)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner


async def _announce(settings: Settings) -> None:
    """Say on standard output that a call can begin, as soon as it can."""
    from aiohttp import ClientError, ClientSession, ClientTimeout
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    born = psutil.Process().create_time()
    url = f"http://{_reachable(settings.host)}:{settings.port}/readyz"
    warned = False
    async with ClientSession(timeout=ClientTimeout(total=2)) as http:
        while True:
            answer = "no answer"
            with suppress(ClientError, TimeoutError):
                async with http.get(url) as response:
                    if response.status == 200:
                        break
                    answer = (await response.text())[:300]
            if not warned and time.time() - born > SLOW_START_S:
                warned = True
                logger.warning("Still not ready after %.0f s: %s", time.time() - born, answer)
            await asyncio.sleep(0.1)
    took = time.time() - born
    console.print(
        f"\n  [bold]Understudy {version('understudy')}[/] is ready, {took:.1f} s after its start.\n"
        f"  Open [bold cyan]{page_url(settings)}[/] in two windows, or send the link to somebody.\n"
        f"  Targets are kept in {escape(str(settings.data_dir))}. Ctrl-C ends it.\n"
    )
    if not is_loopback(settings.host):
        console.print(
            "  [yellow]Browsers give the camera only to pages of localhost or over https:[/]\n"
            "  for people on other machines, put a proxy that speaks TLS in front.\n"
        )


def page_url(settings: Settings) -> str:
    """Address of the page as a person on this machine would open it."""
    host = settings.host
    if is_loopback(host) or host in {"0.0.0.0", "::", ""}:
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/"


def _listening_socket(settings: Settings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family, *_, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        dual = family == socket.AF_INET6 and host in {"", "::"} and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, backlog=512, dualstack_ipv6=dual)
    except socket.gaierror:
        raise UserError(f"host: there is no address {host!r} on this machine.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} of {host} is in use by another program, perhaps an Understudy that still "
                "runs. End that one, or choose another port: --port, UNDERSTUDY_PORT."
            ) from None
        if error.errno == errno.EACCES:
            raise UserError(
                f"Port {port} needs rights that this user lacks; choose one above 1023."
            ) from None
        raise UserError(f"Cannot listen on {host} port {port}: {error.strerror or error}.") from None


def _require_data_dir(folder: Path) -> None:
    """Make the data folder, and write to it: otherwise the first to notice would be who uploads a photo."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # rights alone do not say it: the disk may be read-only
            pass
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"data_dir: {folder} is no folder; name one that uploads can be kept in.") from None
    except OSError as error:
        raise UserError(
            f"data_dir: nothing can be written to {folder} ({error.strerror or error}); "
            "choose another folder: --data-dir, UNDERSTUDY_DATA_DIR."
        ) from None


def _stop_signal() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set. A second one ends the process at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # the children notice and end
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return stopping


def free_port() -> int:
    """A port of the loopback address that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _reachable(host: str) -> str:
    """An address at which this machine reaches what listens on ``host``, as it stands in a URL."""
    if host in {"0.0.0.0", "::", ""}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
