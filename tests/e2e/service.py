"""The real service as a child process of the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from server.serve import free_port


class Service:
    """``understudy serve`` on a free port, in a process group of its own.

    Args:
        folder: for its targets and its log.
        environment: UNDERSTUDY_* settings beside address and folder.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.log = folder / "serve.log"
        self._folder = folder
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self) -> None:
        """Start it, without waiting."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("UNDERSTUDY_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", "serve"],
                env={
                    **clean,
                    "UNDERSTUDY_PORT": str(self.port),
                    "UNDERSTUDY_DATA_DIR": str(self._folder / "data"),
                    "UNDERSTUDY_CONFIG": "",
                    **self._environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self, within: float = 60.0) -> None:
        """Wait until a call could begin."""
        assert self.process is not None
        until = time.monotonic() + within
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.log.read_text()}")
            with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                self.get("/readyz")
                return
            time.sleep(0.1)
        raise AssertionError(f"serve was not ready within {within} s:\n{self.log.read_text()}")

    def get(self, path: str) -> Any:
        """JSON of a path."""
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return json.load(response)

    def read(self, path: str) -> bytes:
        """What stands at a path."""
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return bytes(response.read())

    def family(self) -> list[psutil.Process]:
        """All processes of the service, the main one first."""
        assert self.process is not None
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def worker(self) -> psutil.Process:
        """The media worker's process."""
        (worker,) = (p for p in self.family()[0].children() if "worker" in p.cmdline())
        return worker

    def inference(self) -> list[psutil.Process]:
        """The inference processes: the one that serves first, then the one that stands by."""
        children = [p for p in self.worker().children() if "server.inference.process" in p.cmdline()]
        return sorted(children, key=lambda process: process.create_time())

    def wait_until_whole(self, killed: Sequence[psutil.Process], within: float = 60.0) -> None:
        """Wait until a worker and an inference process run that are none of those killed."""
        gone = {process.pid for process in killed}
        until = time.monotonic() + within
        while True:
            with suppress(psutil.NoSuchProcess, ValueError):
                present = [self.worker(), *self.inference()]
                if len(present) > 1 and not gone & {process.pid for process in present}:
                    return
            assert time.monotonic() < until, "what was killed was not started again"
            time.sleep(0.1)

    def wait_until_said(self, words: str, within: float = 20.0) -> None:
        """Wait until the log has these words."""
        until = time.monotonic() + within
        while words not in self.log.read_text():
            assert time.monotonic() < until, f"{words!r} was not said:\n{self.log.read_text()}"
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGTERM, within: float = 15.0) -> int:
        """Signal it and wait for its end; returns its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise


def wait_until_gone(processes: list[psutil.Process], within: float = 15.0) -> list[psutil.Process]:
    """Wait for the end of processes that are not this one's children; returns those still there."""
    until = time.monotonic() + within

    def left() -> list[psutil.Process]:
        return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    while time.monotonic() < until and left():
        time.sleep(0.05)
    return left()
