"""Threads that take several drivers' frames through the models at once, on as many processor cores."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Lanes"]


class Lanes:
    """A fixed number of threads, each with one driver's frame at a time.

    All methods are for one thread, the one that gives the work out.

    Args:
        count: of threads.
        work: takes a driver's newest frame through; runs in these threads, never twice for the same driver.
    """

    def __init__(self, count: int, work: Callable[[int], None]) -> None:
        self._work = work
        self._count = count
        self._busy: dict[int, float] = {}  # drivers, and since when
        self._given: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()
        self._bell, self._ring = socket.socketpair()
        for end in (self._bell, self._ring):
            end.setblocking(False)
        for number in range(count):
            threading.Thread(target=self._run, name=f"lane-{number}", daemon=True).start()

    def fileno(self) -> int:
        """Readable when something is finished."""
        return self._bell.fileno()

    @property
    def free(self) -> int:
        """How many more drivers may be started."""
        return self._count - len(self._busy)

    @property
    def longest_s(self) -> float:
        """For how long the driver has been at it that has been for longest; 0 when all is idle."""
        return time.monotonic() - min(self._busy.values()) if self._busy else 0.0

    def start(self, driver: int) -> None:
        """Have a driver's newest frame taken through; the driver is not at it, and a lane is free."""
        self._busy[driver] = time.monotonic()
        self._given.put(driver)

    def finished(self) -> list[int]:
        """Drivers that are through since the last call.

        Raises:
            BaseException: what the work of one of them raised.
        """
        with suppress(BlockingIOError):
            self._bell.recv(4096)
        through = []
        with suppress(queue.Empty):
            while True:
                through.append(self._take(*self._done.get_nowait()))
        return through

    def settled(self) -> list[int]:
        """Wait until all are through, which these are.

        Raises:
            BaseException: what the work of one of them raised.
        """
        return [self._take(*self._done.get()) for _ in range(len(self._busy))]

    def _take(self, driver: int, error: BaseException | None) -> int:
        del self._busy[driver]
        if error is not None:
            raise error
        return driver

    def _run(self) -> None:
        while True:
            driver = self._given.get()
            error = None
            try:
                self._work(driver)
            except BaseException as raised:  # the loop raises it, and the process ends
                error = raised
            self._done.put((driver, error))
            with suppress(BlockingIOError):  # full of rings: it will be heard
                self._ring.send(b"!")
