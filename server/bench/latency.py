"""``understudy bench latency``: from camera to the peer's screen, in two real browsers in a real call.

The camera's film carries a number on each frame. The generated picture does not, so the benchmark runs a
media worker of its own (:mod:`server.bench.probed`) whose inference process draws that number anew on the
picture made of the frame. The same call with the target's still in place of landmarks and generation
("identity") says what is left when nothing is computed: browsers, codecs, network, clocks.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
import psutil

from server.bench.chromium import MISSING, find_chromium, launch_with_camera
from server.bench.clip import write_tone, write_y4m
from server.bench.networks import Name, dotted
from server.bench.numbers import write_number
from server.bench.probed import Mode
from server.environment import environment_without_settings
from server.errors import UserError
from server.serve import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["Latency", "LatencyRow", "Start", "delays", "import_seconds", "measure_start"]

_FILM_FPS: Final = 30
_READY_S: Final = 60.0
_LIVE_S: Final = 60.0
#: Until the stand-by process has loaded and the encoders have found their bit rate.
_SETTLE_S: Final = 8.0
#: A frame that took longer is counted as not arrived: the film begins again after 8 s.
_LONGEST_S: Final = 4.0


@dataclass(frozen=True)
class LatencyRow:
    """One kind of call.

    Attributes:
        mode: ``generator`` or ``identity``.
        p50_ms, p95_ms: from a frame's presentation in its page's own camera to that of its picture at the
            peer.
        frames: that were seen at both ends, in both directions.
        camera_fps, peer_fps: numbered frames a second in the camera, and different ones at the peer.
        unreadable: share of the peer's pictures whose number could not be read.
        first_picture_s: from both pages' opening to the first generated picture of both.
        video_buffer_ms, audio_buffer_ms: mean time in the browsers' jitter buffers, a part of the latency;
            browsers hold the picture back to keep it in step with the sound.
    """

    mode: str
    p50_ms: float
    p95_ms: float
    frames: int
    camera_fps: float
    peer_fps: float
    unreadable: float
    first_picture_s: float
    video_buffer_ms: float
    audio_buffer_ms: float


@dataclass(frozen=True)
class Start:
    """What starting takes.

    Attributes:
        ready_s: from ``understudy serve`` to its being ready for a call.
        signaling_import_cpu_s: processor time of importing the signaling server, the interpreter's own start
            taken off.
        main_import_cpu_s: of importing all of the main process: with command line, settings, page, targets
            and audit log.
    """

    ready_s: float
    signaling_import_cpu_s: float
    main_import_cpu_s: float


@dataclass(frozen=True)
class Latency:
    """The benchmark's parameters.

    Attributes:
        generator: which one.
        size: of pictures.
        seconds: of each measurement.
        rounds: identity and generator take turns this often.
        progress: told what is being done, and what share of all is done.
    """

    generator: Name
    size: int
    seconds: float
    rounds: int = 1
    progress: Callable[[str, float], None] = lambda doing, share: None

    def run(self) -> list[LatencyRow]:
        """Measure both modes.

        Raises:
            UserError: no Chromium or no Playwright here, or the call did not come about.
        """
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            raise UserError("Playwright is not installed (pip install 'understudy[test]').") from None
        if (chromium := find_chromium()) is None:
            raise UserError(MISSING)
        modes: tuple[Mode, ...] = get_args(Mode)
        found: dict[Mode, list[_Found]] = {mode: [] for mode in modes}
        with tempfile.TemporaryDirectory(prefix="understudy-bench-") as name, sync_playwright() as playwright:
            folder = Path(name)
            self.progress("making the film", 0.0)
            film = _numbered_film(folder)
            browsers = [launch_with_camera(playwright, chromium, *film) for _ in range(2)]
            steps = [mode for _ in range(self.rounds) for mode in reversed(modes)]
            for index, mode in enumerate(steps):
                self.progress(f"call with {mode}", (index + 0.2) / (len(steps) + 0.2))
                (data := folder / f"data-{index}").mkdir()
                with _service(data, mode, self.generator, self.size) as url:
                    found[mode].append(_call(browsers, url, self.seconds))
            for browser in browsers:
                browser.close()
        return [_row(mode, found[mode], self.seconds) for mode in modes]


@dataclass(frozen=True)
class _Found:
    """What two pages saw in one call."""

    delays: list[float]
    camera: int
    peer: int
    unreadable: float
    first_picture_s: float
    video_buffer_ms: float
    audio_buffer_ms: float


def delays(camera: Sequence[tuple[int, float]], peer: Sequence[tuple[int, float]]) -> list[float]:
    """Milliseconds from each frame's first presentation at the camera to that at the peer.

    Args:
        camera, peer: (number, milliseconds) in order of time; numbers come again as the film does.
    """
    shown: dict[int, list[float]] = {}
    for number, at in camera:
        shown.setdefault(number, []).append(at)
    found = []
    for number, at in peer:
        before = [then for then in shown.get(number, []) if -20.0 <= at - then < 1e3 * _LONGEST_S]
        if before:
            found.append(at - max(before))
    return found


def import_seconds(modules: str) -> float:
    """Processor seconds of importing modules (``a, b``), beyond an empty interpreter's: best of three."""

    def once(code: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    return min(once(f"import {modules}") for _ in range(3)) - min(once("pass") for _ in range(3))


def measure_start() -> Start:
    """Start the service as it is and wait until it is ready.

    Raises:
        UserError: it did not get ready.
    """
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        port = free_port()
        began = time.monotonic()
        with _process(["-m", "server.cli", "serve"], Path(folder), port, {}) as serve:
            _wait_until_ready(port, [serve])
            took = time.monotonic() - began
    main = import_seconds("server.cli, server.serve, server.composition")
    return Start(took, import_seconds("signaling.app"), main)


def _numbered(film: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for number, planes in enumerate(film):
        numbered = planes.copy()
        write_number(numbered, number)
        yield numbered


def _numbered_film(folder: Path) -> tuple[Path, Path]:
    """Write the film and its sound."""
    from server.bench.stages import driver_film

    video, audio = folder / "camera.y4m", folder / "microphone.wav"
    write_y4m(_numbered(driver_film()), video, _FILM_FPS)
    write_tone(audio)
    return video, audio


@contextmanager
def _service(folder: Path, mode: Mode, generator: Name, size: int) -> Iterator[str]:
    """Signaling as it is and a media worker that carries numbers over; gives the page's address."""
    port, metrics_port = free_port(), free_port()
    settings = {
        "METRICS_PORT": str(metrics_port),
        "WORKER_SECRET": secrets.token_urlsafe(32),
        "SIGNALING_URL": f"ws://127.0.0.1:{port}/worker",
        "SIZE": str(size),
        "DRAIN_S": "0",
    }
    worker = ["-m", "server.bench.probed", "worker", mode, dotted(generator)]
    with (
        _process(["-m", "server.bench.probed", "signaling"], folder, port, settings) as signaling,
        _process(worker, folder, port, settings) as media,
    ):
        for one in (port, metrics_port):  # signaling alone is ready before the worker is
            _wait_until_ready(one, [signaling, media])
        yield f"http://localhost:{port}"


@contextmanager
def _process(
    arguments: Sequence[str], folder: Path, port: int, settings: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    own = {"PORT": str(port), "DATA_DIR": str(folder), "CONFIG": "", "LOG_LEVEL": "warning", **settings}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment_without_settings() | {f"UNDERSTUDY_{name}": value for name, value in own.items()},
        stdin=subprocess.PIPE,  # its end tells them that the benchmark is gone
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _wait_until_ready(port: int, processes: Sequence[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        for process in processes:
            if process.poll() is not None:
                raise UserError(f"The service ended at its start, with code {process.returncode}.")
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            return
        time.sleep(0.05)
    raise UserError(f"The service was not ready within {_READY_S:.0f} s.")


def _call(browsers: Sequence[Browser], url: str, seconds: float) -> _Found:
    """Two people meet by link; what their pages presented, and when."""
    script = (Path(__file__).parent / "latency.js").read_text(encoding="utf-8")
    contexts = [browser.new_context(permissions=["camera", "microphone"]) for browser in browsers]
    try:
        pages: list[Page] = []
        began = time.monotonic()
        for context, name, target in zip(contexts, ("Ada", "Ben"), _targets(url), strict=True):
            context.add_init_script(script)
            pages.append(context.new_page())
            pages[-1].goto(f"{url}/?room=bench&name={name}&target={target}&join=1")
        _wait_for_pictures(pages)
        first = time.monotonic() - began
        pages[0].wait_for_timeout(1000 * _SETTLE_S)
        for page in pages:
            page.evaluate("() => latencyProbe.reset()")
        pages[0].wait_for_timeout(1000 * seconds)
        taken: list[dict[str, Any]] = [page.evaluate("() => latencyProbe.take()") for page in pages]
    finally:
        for context in contexts:
            context.close()
    one, other = taken
    shown = sum(page["counts"]["remote"] for page in taken)
    return _Found(
        [*delays(one["camera"], other["remote"]), *delays(other["camera"], one["remote"])],
        camera=len(one["camera"]) + len(other["camera"]),
        peer=len(one["remote"]) + len(other["remote"]),
        unreadable=sum(page["counts"]["unreadable"] for page in taken) / max(1, shown),
        first_picture_s=first,
        video_buffer_ms=_mean([page["waited"]["video"] for page in taken]),
        audio_buffer_ms=_mean([page["waited"]["audio"] for page in taken]),
    )


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _targets(url: str) -> list[str]:
    """Two built-in targets, none of them the face in the film."""
    with urllib.request.urlopen(f"{url}/api/targets", timeout=10) as response:
        ids = [target["id"] for target in json.load(response)["targets"]]
    return [target for target in ids if target != "astronaut"][:2]


def _wait_for_pictures(pages: Sequence[Page]) -> None:
    until = time.monotonic() + _LIVE_S
    while not all(page.evaluate("() => latencyProbe.numbered() > 0") for page in pages):
        if time.monotonic() > until:
            raise UserError(f"No numbered picture of the peer was seen within {_LIVE_S:.0f} s.")
        pages[0].wait_for_timeout(50)


def _row(mode: str, found: Sequence[_Found], seconds: float) -> LatencyRow:
    values = np.array([delay for one in found for delay in one.delays] or [np.nan])
    watched = 2 * seconds * len(found)
    return LatencyRow(
        mode=mode,
        p50_ms=float(np.percentile(values, 50)),
        p95_ms=float(np.percentile(values, 95)),
        frames=sum(len(one.delays) for one in found),
        camera_fps=sum(one.camera for one in found) / watched,
        peer_fps=sum(one.peer for one in found) / watched,
        unreadable=float(np.mean([one.unreadable for one in found])),
        first_picture_s=min(one.first_picture_s for one in found),
        video_buffer_ms=_mean([one.video_buffer_ms for one in found]),
        audio_buffer_ms=_mean([one.audio_buffer_ms for one in found]),
    )
