"""Keeping child processes: started again when they die, ended with their parent, whatever happens to it."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import psutil

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1


class SupervisedProcess:
    """One child process that is to run as long as its parent does.

    Its standard input is a pipe that the parent holds open and never writes to: when it ends, the parent
    is gone (see :func:`die_with_parent`).

    Args:
        name: for logs.
        command: program and arguments.
        environment: the child's whole environment.
        first_pause: seconds before the first restart; doubled after each further death.
        longest_pause: what the pause grows to.
        steady: a child that lived this long (seconds) starts the pauses anew.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        first_pause: float = 0.2,
        longest_pause: float = 10.0,
        steady: float = 20.0,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._command = list(command)
        self._environment = dict(environment)
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._steady = steady
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the present child, if one runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Start the child, and again each time it ends or cannot be started; for ever, until cancelled."""
        pause = self._first_pause
        while True:
            started = time.monotonic()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, env=self._environment, stdin=asyncio.subprocess.PIPE
                )
            except (OSError, RuntimeError) as error:
                # Too many processes, threads (a RuntimeError) or open files, too little memory: it may pass.
                happened = f"cannot be started ({error})"
            else:
                happened = f"ended {_ending(await self._process.wait())}"
            if time.monotonic() - started >= self._steady:
                pause = self._first_pause
            logger.error("%s %s; starting it again in %.1f s.", self.name, happened, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause)
            self.restarts += 1

    async def stop(self, deadline: float) -> None:
        """Ask the child to end; what still runs of its process tree after ``deadline`` seconds is killed."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        tree = _tree(process.pid)
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), deadline)
        kill(tree)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.5)


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill whichever of the processes still run; psutil sees to it that a reused id is left alone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                logger.warning("Process %d did not end by itself; killed.", process.pid)
                process.kill()


def die_with_parent(grace: float = 1.5) -> None:
    """Tie this process to its parent, in a child of :class:`SupervisedProcess`.

    When the parent is gone, however it died, this process gets SIGTERM, and is ended after ``grace`` seconds
    if it is still there. Ctrl-C, which the terminal sends to the whole process group, is left to the parent.
    Until the program sets a handler of its own, SIGTERM ends all that descends from this process as well.

    Args:
        grace: seconds between SIGTERM and the end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_tree)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(target=_await_parent, args=(grace,), name="await-parent", daemon=True).start()


def _end_tree(number: int, _frame: object) -> None:
    kill(_tree(os.getpid())[1:])
    os._exit(128 + number)


def _await_parent(grace: float) -> None:
    with suppress(OSError):
        while os.read(0, 64):
            pass
    tree = _tree(os.getpid())[1:]
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    kill(tree)
    os._exit(1)


def _tree(pid: int) -> list[psutil.Process]:
    """The process and everything that descends from it, itself first."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _ending(code: int) -> str:
    return f"with code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
