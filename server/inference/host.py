"""Keeps the inference process running: one that serves, and one that is loaded and takes over at once.

Loading the models' libraries takes seconds. So a second process stands by, having loaded everything, and
when the serving one dies or hangs, the next frame already goes to the other. A new one is then loaded in
the background, with growing pauses if processes keep dying.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Final

from server.inference.messages import Channel, InferenceSettings, LastWords, Order, Ready
from server.inference.process import HEARTBEAT_S
from server.logs import log_format

logger = logging.getLogger(__name__)

#: What the inference process is; no setting says otherwise.
PROCESS: tuple[str, ...] = ("-m", "server.inference.process")
#: A process that says nothing for this long hangs.
HANG_S: Final = 2.5
#: Loading everything may take longer.
START_S: Final = 60.0
_TICK_S: Final = 0.1
# One arena of memory for all threads: with glibc's default of eight a core each detector's threads fill
# others, and the process grows from call to call (measured: 320 MB after 70 calls; so it stays at 210 MB).
_ALLOCATION: Final = {"MALLOC_ARENA_MAX": "1"}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0
#: A process that served this long before it ended makes the pauses start anew.
_STEADY_S: Final = 5.0
#: The one that stands by is started this long after the serving one, which has the processors to itself.
_STANDBY_AFTER_S: Final = 1.0
#: So many processes that end without a word before the first has ever served are enough.
_GIVE_UP: Final = 3


class InferenceUnavailable(RuntimeError):
    """The inference process cannot be started; the message says why."""


class _Child:
    """One process: started, loading, ready, gone.

    Args:
        settings: of the process.
        gentle: load at low priority.
        loop: that listens to it.
        on_report: called with the child at each of its reports, and when it has hung up.

    Raises:
        OSError: there are too many processes or open files, or too little memory; nothing was started.
    """

    def __init__(
        self,
        settings: InferenceSettings,
        gentle: bool,
        loop: asyncio.AbstractEventLoop,
        on_report: Callable[[_Child], None],
    ) -> None:
        ours, theirs = Channel.pair()
        self.channel = Channel(ours)
        self.started = self.heard = time.monotonic()
        self.generator: str | None = None
        self.reason = ""
        self.said_why = False
        self.gone = False
        self._on_report = on_report
        arguments = asdict(settings) | {
            "gentle": gentle,
            "log_level": logging.getLevelName(logger.getEffectiveLevel()).lower(),
            "log_format": log_format(),
        }
        command = [sys.executable, *PROCESS, json.dumps(arguments)]
        # A pipe as standard input: its end tells the process that its parent is gone. Started from the event
        # loop's thread, since a process may be bound to the life of the thread that started it.
        self._loop = loop
        try:
            loop.add_reader(self.channel.fileno(), self._read)
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env=_ALLOCATION | os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError:
            loop.remove_reader(self.channel.fileno())
            self.channel.close()
            raise
        finally:
            theirs.close()

    @property
    def ready(self) -> bool:
        """Whether it has loaded everything and lives."""
        return self.generator is not None and not self.gone

    def silent(self, now: float) -> float:
        """Seconds since its last report."""
        return now - self.heard

    def kill(self) -> None:
        """End it, whatever it does; its resources are given back by :meth:`reap`."""
        if self.process.poll() is None:
            self.process.kill()
        self.hang_up()

    def hang_up(self) -> None:
        """Stop listening to it."""
        if not self.gone:
            self.gone = True
            self._loop.remove_reader(self.channel.fileno())
            self.channel.close()
            if self.process.stdin is not None:
                self.process.stdin.close()

    def reap(self) -> bool:
        """Whether it has ended; never waits. Says how, if that was not known before."""
        code = self.process.poll()
        if code is not None and not self.reason:
            self.reason = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            logger.error("Inference process %d %s", self.process.pid, self.reason)
        return code is not None

    def _read(self) -> None:
        try:
            while not self.gone and (received := self.channel.receive()) is not None:
                self.heard = time.monotonic()
                match received[0]:
                    case Ready(generator):
                        self.generator = generator
                    case LastWords(reason):
                        self.reason, self.said_why = reason, True
        except EOFError:
            self.hang_up()
        self._on_report(self)


class InferenceHost:
    """The serving process and the one that stands by.

    Args:
        settings: of the processes.
        on_up: called when a process serves that knows of no drivers yet.
        on_down: called when the serving one is gone.
        hang_s: a ready process that is silent for this long is killed.
        standby: keep a second process loaded. Without it a restart takes as long as loading.
    """

    def __init__(
        self,
        settings: InferenceSettings,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[], None],
        hang_s: float = HANG_S,
        standby: bool = True,
    ) -> None:
        self._settings = settings
        self._on_up, self._on_down = on_up, on_down
        self._hang_s = max(hang_s, 2 * HEARTBEAT_S)
        self._standby_wanted = standby
        self._serving: _Child | None = None
        self._others: list[_Child] = []  # loading or standing by
        self._ended: list[_Child] = []  # killed, not yet reaped
        self._suspects: set[_Child] = set()
        self._served = False
        self._serving_since = 0.0
        self._failures = 0
        self._next_start = 0.0
        self.loop: asyncio.AbstractEventLoop
        self._first: asyncio.Future[None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self.restarts = 0
        self.generator = ""
        self.trouble = ""  # why the last process ended

    @property
    def ready(self) -> bool:
        """Whether a process serves."""
        return self._serving is not None

    @property
    def pid(self) -> int | None:
        """Process id of the serving process."""
        return self._serving.process.pid if self._serving is not None else None

    @property
    def standby_pid(self) -> int | None:
        """Process id of the one that stands by, once it is loaded."""
        return next((child.process.pid for child in self._others if child.ready), None)

    async def start(self) -> None:
        """Start a process and wait until it serves.

        Raises:
            InferenceUnavailable: it cannot be started, ends early, or does not serve within a minute.
        """
        self.loop = asyncio.get_running_loop()
        self._first = self.loop.create_future()
        self._ticking = asyncio.create_task(self._tick_for_ever(), name="inference host")
        try:
            await asyncio.wait_for(asyncio.shield(self._first), START_S)
        except TimeoutError:
            await self.close()
            raise InferenceUnavailable(f"no inference process serves within {START_S:g} s") from None
        except InferenceUnavailable:
            await self.close()
            raise

    async def close(self) -> None:
        """End all processes."""
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
            self._ticking = None
        children = [*self._others, *self._ended, *([self._serving] if self._serving else [])]
        self._serving = None
        self._others.clear()
        self._ended.clear()
        for child in children:
            child.kill()
        await asyncio.gather(*(asyncio.to_thread(child.process.wait) for child in children))

    def command(self, order: Order, descriptors: Sequence[int] = ()) -> None:
        """Send an order, which must not be lost: a process that does not take it is replaced."""
        child = self._serving
        if child is not None and not child.channel.send(order, descriptors):
            child.reason = child.reason or "it does not take orders"
            self._bury(child)

    async def _tick_for_ever(self) -> None:
        while True:
            self._tick(time.monotonic())
            await asyncio.sleep(_TICK_S)

    def _tick(self, now: float) -> None:
        """Look for processes that hang, and start what is missing."""
        self._ended = [child for child in self._ended if not child.reap()]
        for child in [*self._others, *([self._serving] if self._serving else [])]:
            if child.silent(now) < (self._hang_s if child.ready else START_S):
                self._suspects.discard(child)
            elif child not in self._suspects:
                # Its reports may wait unread because this event loop itself was held up: ask once more.
                self._suspects.add(child)
            else:
                child.reason = child.reason or f"silent for {child.silent(now):.1f} s"
                self._bury(child)
        if now >= self._next_start and self._one_is_missing(now):
            self._start_another(now)

    def _start_another(self, now: float) -> None:
        """Start a process; if that fails, :meth:`_tick` tries again after a pause."""
        self._next_start = now + _FIRST_PAUSE_S
        gentle = self._serving is not None
        try:
            self._others.append(_Child(self._settings, gentle, self.loop, self._heard_from))
        except OSError as error:
            self.trouble = f"it cannot be started: {error}"
            self._failures += 1
            pause = self._pause()
            self._next_start = now + pause
            logger.error("No inference process can be started, trying again in %.2f s: %s", pause, error)
            self._give_up_if_hopeless()

    def _one_is_missing(self, now: float) -> bool:
        if self._others:
            return False
        return self._serving is None or (
            self._standby_wanted and now - self._serving_since > _STANDBY_AFTER_S
        )

    def _heard_from(self, child: _Child) -> None:
        if child.gone:
            self._bury(child)
        elif self._serving is None and child.ready:
            self._promote(child)

    def _promote(self, child: _Child) -> None:
        self._others.remove(child)
        self._serving = child
        self._serving_since = time.monotonic()
        self._served = True
        self.generator = child.generator or ""
        self._on_up()
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def _bury(self, child: _Child) -> None:
        """A process is gone, or is made to be: the next one takes over."""
        if child is not self._serving and child not in self._others:
            return
        now = time.monotonic()
        child.kill()
        self._ended.append(child)
        self._suspects.discard(child)
        self.trouble = child.reason or "it ended"
        steady = child is self._serving and now - self._serving_since > _STEADY_S
        self._failures = 0 if steady else self._failures + 1
        pause = self._pause()
        self._next_start = now + (0.0 if steady else pause)
        if child is not self._serving:
            self._others.remove(child)
            logger.error("An inference process is gone before it served: %s", self.trouble)
            self._give_up_if_hopeless(child.said_why)
            return
        self._serving = None
        self.restarts += 1
        standby = next((other for other in self._others if other.ready), None)
        logger.error(
            "The inference process is gone: %s; %s",
            self.trouble,
            "another one takes over" if standby else f"starting another one in {pause:.2f} s",
        )
        self._on_down()
        if standby is not None:
            self._promote(standby)

    def _pause(self) -> float:
        """Seconds until the next start, the longer the more have failed."""
        return min(_FIRST_PAUSE_S * 2 ** max(0, self._failures - 1), _LONGEST_PAUSE_S)

    def _give_up_if_hopeless(self, said_why: bool = False) -> None:
        """Before anything was ever served: end the start if the process itself said why it cannot go on."""
        hopeless = said_why or self._failures >= _GIVE_UP
        if hopeless and self._first is not None and not self._first.done():
            self._first.set_exception(InferenceUnavailable(self.trouble))
