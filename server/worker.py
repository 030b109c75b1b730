"""The media worker: registers with signaling, serves the terminals it is given, drains before it stops.

It drains when it is told to stop: no new drivers are taken, running sessions may finish for ``drain_s``
seconds. Its process is :mod:`server.worker_process`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import socket
from dataclasses import dataclass, field
from typing import Any, Final

from server import metrics
from server.media.interfaces import Inference, PeerFactory
from server.media.service import Limits, MediaService
from server.signaling_link import SignalingLink
from server.target_watch import TargetWatch
from server.targets.remote import RemoteTargets
from server.worker_status import StatusPage
from signaling.log_context import log_context
from signaling.protocol import (
    DriverGone,
    DriverReact,
    DriverRecalibrate,
    DriverState,
    DriverUpdate,
    ErrorCode,
    SessionClose,
    SessionSignal,
    WorkerHello,
    WorkerLoad,
    WorkerRefused,
    WorkerStats,
    WorkerStatus,
    WorkerWelcome,
)

logger = logging.getLogger(__name__)

REPORT_INTERVAL_S: Final = 2.0
CLOSING_LIMIT_S: Final = 0.8


class RefusedError(Exception):
    """Signaling does not take this worker, and will not next time either."""


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker runs.

    Attributes:
        signaling_url: WebSocket address of signaling's ``/worker``.
        secret: shared with signaling.
        worker_id: unique among the workers of a signaling server.
        capacity: drivers it serves at once.
        size: side of the generated picture in pixels.
        drain_s: how long running sessions may go on after SIGTERM.
        orphan_s: how long media go on while signaling is out of reach.
        metrics_port: loopback port of /metrics and /healthz; 0 takes a free one, None none.
        limits: bounds of its media sessions.
    """

    signaling_url: str
    secret: str
    worker_id: str = field(default_factory=lambda: f"{socket.gethostname()[:40]}-{os.getpid()}")
    capacity: int = 4
    size: int = 256
    drain_s: float = 60.0
    orphan_s: float = 60.0
    metrics_port: int | None = None
    limits: Limits = field(default_factory=Limits)


class Worker:
    """One media worker.

    Args:
        settings: how it runs.
        inference: makes the pictures; its callbacks must lead to :meth:`status_changed` and
            :meth:`picture_ready`.
        peers: makes peer connections.
        targets: uploads on other machines; None: none are looked for.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        inference: Inference,
        peers: PeerFactory,
        targets: RemoteTargets | None = None,
    ) -> None:
        self.settings = settings
        self.status: StatusPage | None = None
        if settings.metrics_port is not None:
            self.status = StatusPage(settings.metrics_port, self._health)
        self._inference = inference
        self._peers = peers
        self._statuses: dict[str, WorkerStatus] = {}
        hello = WorkerHello(
            worker=settings.worker_id,
            secret=settings.secret,
            capacity=settings.capacity,
            instance=secrets.token_urlsafe(12),
        )
        self._link = SignalingLink(settings.signaling_url, hello, self._obey, self._signaling_lost)
        self._send = self._link.send
        self._media = MediaService(inference, peers, self._send, settings.limits)
        self._targets = targets
        self._orphaned: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> asyncio.Event:
        """Set while it is registered with signaling."""
        return self._link.welcome

    @property
    def media(self) -> MediaService:
        """Its media sessions."""
        return self._media

    async def run(self, stop: asyncio.Event, abort: asyncio.Event | None = None) -> None:
        """Serve until ``stop`` is set, drain, and end; ``abort`` cuts the draining short.

        Raises:
            RefusedError: signaling does not take this worker.
        """
        abort = abort or asyncio.Event()
        metrics.CAPACITY.set(self.settings.capacity)
        if self.status is not None:
            await self.status.start()
        stopping = asyncio.create_task(stop.wait())
        background: list[asyncio.Task[None]] = []
        try:
            if await self._inference_starts(stopping):
                background += self._start_background()
                # What was made so far stays: the collector need not look at it again in the middle of a call.
                gc.collect()
                gc.freeze()
                await asyncio.wait({stopping, background[0]}, return_when=asyncio.FIRST_COMPLETED)
                if background[0].done():
                    background[0].result()
                await self._drain(abort)
        finally:
            for task in [stopping, *background]:
                task.cancel()
            await asyncio.gather(stopping, *background, return_exceptions=True)
            await self._close()
            if self.status is not None:
                await self.status.close()

    async def _inference_starts(self, stopping: asyncio.Task[Any]) -> bool:
        """Wait until inference serves; False when told to stop first."""
        starting = asyncio.create_task(self._inference.start(), name="inference starts")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return False
        starting.result()
        return True

    def _start_background(self) -> list[asyncio.Task[None]]:
        tasks = [
            asyncio.create_task(self._link.run(), name="signaling"),
            asyncio.create_task(self._report(), name="reports"),
            asyncio.create_task(metrics.watch_event_loop(), name="event loop lag"),
        ]
        if self._targets is not None:
            watch = TargetWatch(self._targets, self._media)
            tasks.append(asyncio.create_task(watch.run(), name="targets"))
        return tasks

    async def _close(self) -> None:
        if self._orphaned is not None:
            self._orphaned.cancel()
        try:
            await asyncio.wait_for(self._media.close(), CLOSING_LIMIT_S)
        except TimeoutError:
            logger.warning("Some media sessions did not close within %g s", CLOSING_LIMIT_S)
        await self._inference.close()
        self._peers.close()
        if self._targets is not None:
            await asyncio.to_thread(self._targets.close)

    # ------------------------------------------------------------ from inference

    def status_changed(self, terminal: str, state: DriverState, detail: str = "") -> None:
        """A driver's picture shows something else now."""
        if not self._media.knows(terminal):
            return
        status = WorkerStatus(terminal=terminal, state=state, detail=detail)
        if self._statuses.get(terminal) == status:
            return
        metrics.DRIVER_STATES.labels(state).inc()
        self._statuses[terminal] = status
        metrics.DRIVERS_BY_STATE.show(status.state for status in self._statuses.values())
        self._send(status)

    def picture_ready(self, terminal: str) -> None:
        """A driver has a new picture."""
        self._media.picture_ready(terminal)

    # ------------------------------------------------------------ from signaling

    def _obey(self, command: Any) -> None:
        terminal, session = getattr(command, "terminal", None), getattr(command, "session", None)
        with log_context(terminal=terminal, session=session):
            try:
                self._carry_out(command)
            except RefusedError:
                raise
            except Exception:  # one command that fails is no reason to end all calls
                logger.exception("A command of signaling failed: %s", command.type)

    def _carry_out(self, command: Any) -> None:
        match command:
            case WorkerWelcome():
                self._welcomed(command)
            case WorkerRefused():
                self._refused(command)
            case DriverUpdate():
                self._media.update(command)
            case DriverRecalibrate():
                self._media.recalibrate(command.terminal)
            case DriverReact():
                self._media.react(command.terminal, command.template)
            case DriverGone():
                self._statuses.pop(command.terminal, None)
                metrics.DRIVERS_BY_STATE.show(status.state for status in self._statuses.values())
                self._media.forget(command.terminal)
            case SessionSignal():
                self._media.signal(command)
            case SessionClose():
                self._media.end_session(command.terminal, command.session)

    def _welcomed(self, welcome: WorkerWelcome) -> None:
        if self._orphaned is not None:
            self._orphaned.cancel()
            self._orphaned = None
        self._media.ice_servers = welcome.ice_servers
        self._media.keep_only(welcome.drivers)
        self._link.welcomed()
        self._send(self._load())
        for terminal in [terminal for terminal in self._statuses if not self._media.knows(terminal)]:
            del self._statuses[terminal]
        metrics.DRIVERS_BY_STATE.show(status.state for status in self._statuses.values())
        for status in self._statuses.values():
            self._send(status)
        logger.info("Registered with signaling as %s.", self.settings.worker_id)

    def _refused(self, refusal: WorkerRefused) -> None:
        if refusal.code in (ErrorCode.UNAUTHORISED, ErrorCode.VERSION_UNSUPPORTED, ErrorCode.SUPERSEDED):
            raise RefusedError(refusal.message)
        logger.warning("Signaling refused this worker: %s", refusal.message)

    def _signaling_lost(self) -> None:
        if self._orphaned is None and self._media.sessions:
            # Nobody can leave, mute or be kept out while signaling is away: not for long.
            self._orphaned = asyncio.get_running_loop().call_later(
                self.settings.orphan_s, self._media.keep_only, ()
            )

    # ------------------------------------------------------------ reports

    def _load(self) -> WorkerLoad:
        drivers = len(self._media.open_drivers)
        return WorkerLoad(
            drivers=drivers,
            load=drivers / max(1, self.settings.capacity),
            draining=self._media.draining,
        )

    async def _report(self) -> None:
        while True:
            self._send(self._load())
            try:
                self._report_drivers()
            except Exception:  # the heartbeat goes on
                logger.exception("Figures could not be gathered")
            await asyncio.sleep(REPORT_INTERVAL_S)

    def _report_drivers(self) -> None:
        for terminal in self._media.open_drivers:
            self._inference.latest(terminal)  # notices, and tells, what changed while nobody looked
        for terminal in self._media.publishing:
            figures = self._inference.stats(terminal)
            if figures is not None:
                self._send(
                    WorkerStats(
                        terminal=terminal,
                        generator=figures.generator,
                        fps=figures.fps,
                        frame_ms=figures.frame_ms,
                        age_ms=figures.age_ms,
                        size=figures.size,
                    )
                )

    # ------------------------------------------------------------ stopping

    async def _drain(self, abort: asyncio.Event) -> None:
        self._media.draining = True
        self._send(self._load())
        if not self._media.sessions or self.settings.drain_s <= 0:
            return
        logger.info("Draining: %d media sessions may go on.", self._media.sessions)
        waiting = [asyncio.create_task(self._media.idle.wait()), asyncio.create_task(abort.wait())]
        await asyncio.wait(waiting, timeout=self.settings.drain_s, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    def _health(self) -> dict[str, Any]:
        return {
            "worker": self.settings.worker_id,
            "registered": self.connected.is_set(),
            "draining": self._media.draining,
            "drivers": len(self._media.open_drivers),
            "sessions": self._media.sessions,
        }
