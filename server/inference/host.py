"""Keeps the inference process running: starts it, hears it, and starts it again when it dies or hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from server.inference.memory import FrameSlots, shared_file
from server.inference.messages import Channel, Command, InferenceSettings, Ready, Report
from server.inference.process import command_line

logger = logging.getLogger(__name__)

#: A process that does not speak for this long hangs (it says at least twice a second that it is alive).
HANG_S = 4.0
#: The time to load models may be longer.
START_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _STEADY_S = 0.05, 5.0, 20.0


class InferenceHost:
    """One inference process at a time, and the memory that it shares with this one.

    Args:
        settings: of the process.
        on_report: called on the event loop with each of its reports.
        on_up: called when it is ready to be told of drivers.
        on_down: called when it is gone.
    """

    def __init__(
        self,
        settings: InferenceSettings,
        *,
        on_report: Callable[[Report], None],
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        hang_s: float = HANG_S,
    ) -> None:
        self._settings = settings
        self._on_report, self._on_up, self._on_down = on_report, on_up, on_down
        self._hang_s = hang_s
        camera = FrameSlots.bytes_needed(settings.slots, settings.camera_bytes)
        picture = FrameSlots.bytes_needed(settings.slots, settings.picture_bytes)
        self._descriptors = (shared_file(camera), shared_file(picture))
        self.cameras = FrameSlots(self._descriptors[0], settings.slots, settings.camera_bytes)
        self.pictures = FrameSlots(self._descriptors[1], settings.slots, settings.picture_bytes)
        self.ready = False
        self.generator = ""
        self.restarts = 0
        self._channel: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = 0.0
        self._running: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Process id of the present process."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self) -> None:
        """Start the process and wait until it serves.

        Raises:
            TimeoutError: it does not serve within a minute.
        """
        ready = asyncio.Event()
        up = self._on_up

        def once() -> None:
            up()
            ready.set()

        self._on_up = once
        self._running = asyncio.create_task(self._keep_running(), name="inference")
        await asyncio.wait_for(ready.wait(), START_S)

    async def close(self) -> None:
        """End the process and give the memory back."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
            self._running = None
            for descriptor in self._descriptors:
                os.close(descriptor)

    def send(self, message: Command) -> bool:
        """Send a message; False when there is no process, or it does not listen."""
        return self._channel is not None and self._channel.send(message)

    def command(self, message: Command) -> None:
        """Send a message that must not be lost: a process that does not take it is started again."""
        if self.ready and not self.send(message):
            logger.error("The inference process does not take messages")
            self._kill()

    async def _keep_running(self) -> None:
        pause = _FIRST_PAUSE_S
        try:
            while True:
                began = time.monotonic()
                await self._run_once()
                if time.monotonic() - began > _STEADY_S:
                    pause = _FIRST_PAUSE_S
                self.restarts += 1
                logger.error("The inference process is gone; starting it again")
                await asyncio.sleep(pause)
                pause = min(4 * pause, _LONGEST_PAUSE_S)
        finally:
            self._stop()

    async def _run_once(self) -> None:
        ours, theirs = Channel.pair()
        cameras, pictures = self._descriptors
        self._channel = Channel(ours)
        # A pipe as standard input: its end tells the process that its parent is gone.
        self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork takes about a millisecond
            command_line(json.dumps(asdict(self._settings)), (theirs.fileno(), cameras, pictures)),
            stdin=subprocess.PIPE,
            pass_fds=(theirs.fileno(), cameras, pictures),
        )
        theirs.close()
        self._heard = time.monotonic()
        self._gone.clear()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._read)
        try:
            while not self._gone.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._gone.wait(), 0.25)
                silent = time.monotonic() - self._heard
                if silent > (self._hang_s if self.ready else START_S):
                    logger.error("The inference process has hung for %.1f s", silent)
                    break
        finally:
            loop.remove_reader(self._channel.fileno())
            was_ready, self.ready = self.ready, False
            self._stop()
            if was_ready:
                self._on_down()

    def _read(self) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            while (report := channel.receive()) is not None:
                self._heard = time.monotonic()
                if isinstance(report, Ready):
                    self.ready, self.generator = True, report.generator
                    self._on_up()
                else:
                    self._on_report(report)  # type: ignore[arg-type]
        except EOFError:
            asyncio.get_running_loop().remove_reader(channel.fileno())
            self._gone.set()

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._gone.set()

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
