"""One `understudy signaling`, several `understudy worker`, and two people in a call, all as in production."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import av
import cv2
import numpy as np
from skimage import data

from server.bench.clip import BACKGROUND, HEIGHT, WIDTH, encode_opus, encode_vp8
from server.bench.driver import Film, SyntheticDriver, Watcher
from server.serve import free_port
from signaling import protocol
from tests.integration.media.harness import until

SECRET = "between us, and nobody else"
FPS = 15


def make_film() -> Film:
    """A nodding face before a magenta ground, which is to be seen nowhere."""

    def frames() -> list[np.ndarray]:
        face = cv2.resize(data.astronaut()[:400, 60:460], (440, 440), interpolation=cv2.INTER_AREA)
        made = []
        for number in range(FPS):
            frame = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
            top = 20 + round(8 * np.sin(2 * np.pi * number / FPS))
            frame[top : top + 440, 100:540] = face
            made.append(frame)
        return made

    return Film(encode_vp8(iter(frames()), FPS), encode_opus(1.0), FPS)


def magenta(picture: np.ndarray) -> float:
    """Share of a picture that has the colour of the film's ground."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return float(((red > 180) & (green < 90) & (blue > 180)).mean())


@dataclass
class Node:
    """A child process of the tests."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it at once: asked politely, a worker waits for those of its calls who may come back."""
        self.process.kill()
        self.process.wait()


class Cluster:
    """Signaling and workers, each with a data folder of its own.

    Args:
        folder: for data and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.data = folder / "signaling"
        self._folder = folder
        self._nodes: dict[str, Node] = {}
        self._metrics: dict[str, int] = {}

    def url(self, scheme: str, path: str) -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def start(self, *workers: str, **settings: str) -> None:
        """Start signaling and these workers, and wait until all are registered."""
        self._start("signaling", UNDERSTUDY_PORT=str(self.port), **settings)
        for name in workers:
            self.add(name, **settings)
        for name in workers:
            self.wait_until_registered(name)

    def add(self, name: str, **settings: str) -> None:
        """Start one more worker."""
        port = self._metrics[name] = free_port()
        self._start(
            "worker",
            name,
            UNDERSTUDY_SIGNALING_URL=self.url("ws", "/worker"),
            UNDERSTUDY_WORKER_ID=name,
            UNDERSTUDY_METRICS_PORT=str(port),
            UNDERSTUDY_CAPACITY="2",
            **settings,
        )

    def wait_until_registered(self, name: str, within: float = 60.0) -> None:
        """Wait until a worker takes calls."""
        until = time.monotonic() + within
        while self._health(name, "/readyz") is None:
            assert self._nodes[name].process.poll() is None, self.log(name)
            assert time.monotonic() < until, self.log(name)
            time.sleep(0.1)

    def serving(self) -> str:
        """The one worker that has drivers now."""
        found = [name for name in self._metrics if (self._health(name, "/healthz") or {}).get("drivers")]
        assert len(found) == 1, f"drivers are at {found}"
        return found[0]

    def _health(self, name: str, path: str) -> dict[str, Any] | None:
        with suppress(OSError):  # also an answer that is not 200
            url = f"http://127.0.0.1:{self._metrics[name]}{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return dict(json.load(answer))
        return None

    def read(self, path: str) -> bytes:
        """What signaling serves at a path."""
        with urllib.request.urlopen(self.url("http", path), timeout=10) as answer:
            return bytes(answer.read())

    def get(self, path: str) -> Any:
        """JSON of a path."""
        return json.loads(self.read(path))

    def process(self, name: str) -> subprocess.Popen[bytes]:
        return self._nodes[name].process

    def log(self, name: str) -> str:
        return self._nodes[name].log.read_text()

    def close(self) -> None:
        for node in reversed(list(self._nodes.values())):
            node.kill()

    def _start(self, command: str, name: str = "", **settings: str) -> None:
        name = name or command
        clean = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")}
        log = self._folder / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", command],
                env={
                    **clean,
                    "UNDERSTUDY_CONFIG": "",
                    "UNDERSTUDY_DATA_DIR": str(self._folder / name),
                    "UNDERSTUDY_WORKER_SECRET": SECRET,
                    **settings,
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._nodes[name] = Node(name, process, log)


@dataclass
class Person(Watcher):
    """Someone in the call, who looks at the other's picture and writes down when it came.

    Attributes:
        frames: when each picture of the other came.
        live: when the other's picture last was said to be generated.
        returns: how often it had to say hello again.
        leak: the largest share of the camera's ground in any picture.
    """

    name: str
    terminal: str = ""
    frames: list[float] = field(default_factory=list)
    live: float = 0.0
    lost: list[float] = field(default_factory=list)
    returns: int = 0
    calls: set[str] = field(default_factory=set)
    leak: float = 0.0
    newest: np.ndarray | None = None

    def told(self, message: protocol.Message, at: float) -> None:
        match message:
            case protocol.Welcome():
                self.returns += 1
            case protocol.CallState(call=call):
                self.calls.add(call)
            case protocol.WorkerGone():
                self.lost.append(at)
                self.live = 0.0
            case protocol.MediaStatus(terminal=terminal, state=state) if terminal != self.terminal:
                self.live = at if state == "live" else 0.0

    def frame(self, of: str, at: float) -> None:
        if of != self.terminal:
            self.frames.append(at)

    def looks(self, of: str) -> bool:
        return True

    def picture(self, of: str, picture: av.VideoFrame, at: float) -> None:
        rgb = picture.to_ndarray(format="rgb24")
        self.leak = max(self.leak, magenta(rgb))
        if of != self.terminal:
            self.newest = rgb

    @property
    def sees(self) -> bool:
        """Whether the other's generated pictures arrive."""
        return self.live > 0 and any(at > self.live for at in self.frames[-1:])

    def longest_gap(self, since: float) -> float:
        """The longest time without a picture from then on, seconds."""
        times = [since, *(at for at in self.frames if at > since), time.monotonic()]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


class Call:
    """Two people in a call, each behind a target."""

    def __init__(self, cluster: Cluster, film: Film, *targets: str) -> None:
        self._cluster = cluster
        self.people = [Person("Ada"), Person("Ben")]
        self.drivers = [
            SyntheticDriver(person.name, "room", target, film, calls=index == 1, watcher=person)
            for index, (person, target) in enumerate(zip(self.people, targets, strict=True))
        ]

    async def start(self) -> None:
        self._http = aiohttp.ClientSession()
        for person, driver in zip(self.people, self.drivers, strict=True):
            await driver.start(self._http, self._cluster.url("ws", "/ws"))
            person.terminal = driver.terminal
        await self.both_see(30)

    async def both_see(self, within: float) -> None:
        """Wait until each has a generated picture of the other."""
        await until(lambda: all(person.sees for person in self.people), within)

    async def stop(self) -> None:
        for driver in self.drivers:
            await driver.stop()
        await self._http.close()
