"""The inference process: takes the newest camera frame of every driver, gives generated frames back.

Started by :class:`server.inference.host.InferenceHost`; its standard input ends with its parent.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from server.inference.lanes import Lanes
from server.inference.memory import FrameReader, FrameWriter, ReaderEnd, WriterEnd
from server.inference.messages import (
    Alive,
    Assign,
    Channel,
    InferenceSettings,
    LastWords,
    Open,
    React,
    Ready,
    Recalibrate,
    Release,
)
from server.provenance import MarkSettings

if TYPE_CHECKING:
    from server.inference.pipeline import Pipeline

logger = logging.getLogger(__name__)

HEARTBEAT_S: Final = 0.5
#: A helper that has been at a frame for longer may hang: no life is claimed then. A slow one is alive.
_STUCK_S: Final = 2.0
_ORDERS_A_ROUND: Final = 16
#: Niceness of loading while calls run: a third of the share of what serves them.
_GENTLE: Final = 5
#: A driver whose frames came at longer intervals than this is not waited for.
_LONGEST_INTERVAL_S: Final = 0.2


class Arrivals:
    """When drivers' frames come, to tell whether waiting for company is worth it.

    Cameras tick at a steady rate, so the next frame of each is foreseeable to a few milliseconds.
    """

    def __init__(self) -> None:
        self._last: dict[int, float] = {}
        self._interval: dict[int, float] = {}

    def note(self, driver: int, now: float) -> None:
        """A frame came."""
        if (last := self._last.get(driver)) is not None:
            interval = now - last
            before = self._interval.get(driver, interval)
            self._interval[driver] = before + 0.2 * (interval - before)
        self._last[driver] = now

    def forget(self, driver: int) -> None:
        """The driver is gone."""
        self._last.pop(driver, None)
        self._interval.pop(driver, None)

    def expected(self, now: float, within: float) -> set[int]:
        """Drivers whose next frame is due within this time, or overdue by no more than that."""
        return {
            driver
            for driver, interval in self._interval.items()
            if interval < _LONGEST_INTERVAL_S and abs(self._last[driver] + interval - now) <= within
        }


class InferenceProcess:
    """The process's loop.

    A generator that batches gets the frames of several drivers together. For any other, frames that would
    have to wait go to helping threads, one driver's to each. Orders, which may change what a driver is shown
    behind, are carried out when all of these are still.

    Args:
        pipeline: what happens to frames.
        channel: to the media process.
        company_s: how long a frame waits for another driver's at most.
        picture_bytes: size of a generated frame.
        lanes: frames of how many drivers may be worked on at once, if the generator does not batch.
    """

    def __init__(
        self, pipeline: Pipeline, channel: Channel, company_s: float, picture_bytes: int, lanes: int
    ) -> None:
        self._pipeline = pipeline
        self._channel = channel
        self._company_s = company_s
        self._picture_bytes = picture_bytes
        self._arrivals = Arrivals()
        self._drivers: dict[int, int] = {}  # by the file descriptor of their cameras
        self._left: set[int] = set()  # drivers whose frames are there but have to wait for their turn
        self._spoke = 0.0
        helping = lanes > 1 and pipeline.best_batch == 1
        self._helpers = Lanes(lanes - 1, pipeline.serve) if helping else None
        self._orders = {channel.fileno(), pipeline.preparation.fileno()}
        self._poll = select.poll()  # orders, lanes, and cameras of drivers that are not in a lane
        for descriptor in [*self._orders, *([self._helpers.fileno()] if self._helpers else [])]:
            self._poll.register(descriptor, select.POLLIN)

    def run(self) -> None:
        """Serve until the other side hangs up."""
        self._say(Ready(self._pipeline.generator.name))
        while True:
            events = {descriptor for descriptor, _ in self._poll.poll(HEARTBEAT_S * 1000)}
            if self._helpers is not None:
                self._listen_again(self._helpers.finished())
            if events & self._orders:
                if self._helpers is not None:
                    self._listen_again(self._helpers.settled())
                try:
                    self._take_orders()
                except EOFError:
                    return
                self._pipeline.take_prepared()
            self._pipeline.preparation.check()
            ready = self._ready(events)
            if self._helpers is None:
                self._batch(ready)
            else:
                self._share(self._helpers, ready)
                self._listen_again(self._helpers.finished())
            stuck = self._helpers is not None and self._helpers.longest_s > _STUCK_S
            if not stuck and time.monotonic() - self._spoke > HEARTBEAT_S:
                self._say(Alive())

    def _batch(self, ready: set[int]) -> None:
        """Serve some of these drivers together."""
        if ready and (missing := self._company(ready)):
            ready |= self._await(missing)
        self._left = self._pipeline.process(ready)

    def _share(self, helpers: Lanes, ready: set[int]) -> None:
        """Serve one of these drivers here, and of those that would have to wait as many as there are helpers.

        A single frame goes to no helper: on a busy machine a thread that has to be woken makes it later.
        """
        chosen = self._pipeline.turns(ready, 1 + helpers.free)
        for driver in chosen[1:]:
            self._poll.unregister(self._pipeline.drivers[driver].cameras.fileno())
            helpers.start(driver)
        if chosen:
            self._pipeline.serve(chosen[0])

    def _listen_again(self, drivers: Iterable[int]) -> None:
        """These drivers' next frames are of interest."""
        for driver in drivers:
            self._poll.register(self._pipeline.drivers[driver].cameras.fileno(), select.POLLIN)

    def _say(self, message: Ready | Alive) -> None:
        self._channel.send(message)
        self._spoke = time.monotonic()

    def _ready(self, events: set[int]) -> set[int]:
        """Drivers whose camera frame is there."""
        now = time.monotonic()
        ready = {self._drivers[fd] for fd in events if fd in self._drivers}
        for driver in ready - self._left:
            self._arrivals.note(driver, now)
        return ready

    def _company(self, ready: set[int]) -> set[int]:
        """Drivers worth waiting for: their frame would make it into the same batch."""
        if len(self._drivers) < 2 or self._company_s <= 0 or len(ready) >= self._pipeline.best_batch:
            return set()
        return self._arrivals.expected(time.monotonic(), self._company_s) - ready

    def _await(self, missing: set[int]) -> set[int]:
        """Wait for these drivers' frames, but not for long."""
        waiting = {fd: driver for fd, driver in self._drivers.items() if driver in missing}
        poll = select.poll()
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        came: set[int] = set()
        deadline = time.monotonic() + self._company_s
        while waiting and (left_ms := int((deadline - time.monotonic()) * 1000 + 0.05)) > 0:
            for fd, _ in poll.poll(left_ms):
                poll.unregister(fd)
                came.add(waiting.pop(fd))
        for driver in came:
            self._arrivals.note(driver, time.monotonic())
        return came

    def _take_orders(self) -> None:
        """Take some orders; more of them wait for the next round, so that frames and heartbeats go on."""
        for _ in range(_ORDERS_A_ROUND):
            received = self._channel.receive()
            if received is None:
                return
            order, descriptors = received
            match order:
                case Open():
                    self._open(order, descriptors)
                case Assign():
                    self._pipeline.assign(order.driver, order.epoch, order.target)
                case Recalibrate():
                    self._pipeline.recalibrate(order.driver)
                case React():
                    self._pipeline.react(order.driver, order.template)
                case Release():
                    self._release(order.driver)

    def _open(self, order: Open, descriptors: list[int]) -> None:
        border = len(ReaderEnd._fields)
        cameras = FrameReader(ReaderEnd(*descriptors[:border]), order.camera_bytes)
        pictures = FrameWriter(WriterEnd(*descriptors[border:]), self._picture_bytes)
        self._pipeline.open(order.driver, cameras, pictures)
        self._drivers[cameras.fileno()] = order.driver
        self._poll.register(cameras.fileno(), select.POLLIN)

    def _release(self, number: int) -> None:
        driver = self._pipeline.release(number)
        if driver is not None:
            self._poll.unregister(driver.cameras.fileno())
            del self._drivers[driver.cameras.fileno()]
            driver.cameras.close()
            driver.pictures.close()
        self._arrivals.forget(number)


def main() -> None:
    """Entry point: ``python -m server.inference.process SETTINGS SOCKET``."""
    from server.logs import configure_logging
    from server.supervision import die_with_parent

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_parent()
    # It has no children and nothing to put in order: ends at once, also when the model hangs.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    values = json.loads(sys.argv[1])
    configure_logging(values.pop("log_level"), "inference", values.pop("log_format"))
    gentle = values.pop("gentle")
    settings = InferenceSettings(**(values | {"mark": MarkSettings(**values["mark"])}))
    channel = Channel(socket.socket(fileno=int(sys.argv[2])))
    try:
        if gentle:
            _import_gently()
        from server.inference.pipeline import Pipeline

        pipeline = Pipeline(settings)
        company_s = settings.company_s if pipeline.best_batch > 1 else 0.0
        InferenceProcess(pipeline, channel, company_s, settings.picture_bytes, settings.lanes).run()
    except Exception as error:
        logger.exception("The inference process ends")
        channel.send(LastWords(f"{type(error).__name__}: {error}"[:1000]))
        sys.exit(1)


def _import_gently() -> None:
    """Load the libraries at low priority, for a process that is started while calls run.

    On Linux priority belongs to the thread, so a thread of its own gives way and the process's other
    threads, started later, do not. Whatever cannot be imported is told by the import that needs it.
    """

    def load() -> None:
        if sys.platform == "linux" and hasattr(os, "setpriority"):
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GENTLE)
        with suppress(Exception):
            import server.inference.pipeline  # noqa: F401

    thread = threading.Thread(target=load, name="imports")
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
