"""The registry of media workers: who is there, with how much room, and which to give a terminal to."""

from __future__ import annotations

from signaling.admission import same_secret
from signaling.effects import CLOSE_POLICY, Outbox, Refusal
from signaling.protocol import ErrorCode, IceServer, WorkerHello, WorkerLoad, WorkerRefused, WorkerWelcome
from signaling.state import ConnectionId, State, Terminal, Worker


class Workers:
    """Registers workers, watches their heartbeats and chooses among them.

    Args:
        secret: what a worker must show in its hello; empty: no worker is taken.
        ice_servers: handed to each worker.
    """

    def __init__(
        self, state: State, outbox: Outbox, *, secret: str, ice_servers: tuple[IceServer, ...]
    ) -> None:
        self._state = state
        self._outbox = outbox
        self._secret = secret
        self._ice_servers = list(ice_servers)

    def hello(
        self, connection: ConnectionId, message: WorkerHello, now: float
    ) -> tuple[Worker, list[Terminal]] | None:
        """Register a worker, or take back one that was lost.

        Returns:
            The worker and the terminals whose sessions it held before it was started anew and lost with
            that; None when it was refused. The caller tells these, then calls :meth:`welcome`.
        """
        if not same_secret(self._secret, message.secret):
            self._refuse(connection, ErrorCode.UNAUTHORISED, "The worker's secret is not the right one.")
            return None
        worker = self._state.workers.get(message.worker)
        if worker is None:
            worker = Worker(message.worker, message.instance, None, message.capacity, now)
            self._state.workers[worker.id] = worker
            return worker, []
        if worker.connection is not None:
            del self._state.worker_by_connection[worker.connection]
            self._refuse(worker.connection, ErrorCode.SUPERSEDED, "The worker connected again.")
            worker.connection = None
        orphans: list[Terminal] = []
        if message.instance is None or message.instance != worker.instance:
            orphans = list(worker.drivers.values())
            worker.load = 0.0
        worker.instance = message.instance
        worker.capacity = message.capacity
        worker.draining = False
        return worker, orphans

    def welcome(self, worker: Worker, connection: ConnectionId, now: float) -> None:
        """Tell a registered worker what it should hold, and what ended while it was lost."""
        worker.connection = connection
        worker.last_heard = now
        worker.lost_at = None
        self._state.worker_by_connection[connection] = worker
        self._outbox.to_worker(
            worker, WorkerWelcome(ice_servers=self._ice_servers, drivers=list(worker.drivers))
        )
        for close in worker.missed:
            self._outbox.to_worker(worker, close)
        worker.missed.clear()

    def load(self, worker: Worker, message: WorkerLoad) -> None:
        worker.load = message.load
        worker.draining = message.draining

    def choose(self) -> Worker:
        """The least loaded worker that takes another terminal.

        Raises:
            Refusal: ``worker_unavailable`` without any worker, ``worker_busy`` when all are full or draining.
        """
        reachable = [w for w in self._state.workers.values() if w.connection is not None]
        if not reachable:
            raise Refusal(
                ErrorCode.WORKER_UNAVAILABLE, "No media worker is there at the moment; try again soon."
            )
        takers = [w for w in reachable if not (w.draining or w.full)]
        if not takers:
            raise Refusal(ErrorCode.WORKER_BUSY, "All media workers are busy; try again in a while.")
        return min(takers, key=lambda w: w.usage)

    def disconnected(self, connection: ConnectionId, now: float) -> None:
        """The worker's connection is lost; its drivers are kept for a while in case it comes back."""
        worker = self._state.worker_by_connection.pop(connection, None)
        if worker is None:
            return
        worker.connection = None
        worker.lost_at = now
        if not worker.drivers:
            del self._state.workers[worker.id]

    def expire(self, now: float) -> list[Worker]:
        """Remove and return the workers that fell silent or did not come back in time."""
        limits = self._state.limits
        expired = []
        for worker in list(self._state.workers.values()):
            if worker.connection is not None and now - worker.last_heard >= limits.worker_silence_s:
                del self._state.worker_by_connection[worker.connection]
                self._outbox.close(worker.connection, CLOSE_POLICY, "no heartbeat")
                worker.connection = None
                expired.append(worker)
            elif worker.lost_at is not None and now - worker.lost_at >= limits.worker_grace_s:
                expired.append(worker)
        for worker in expired:
            del self._state.workers[worker.id]
        return expired

    def _refuse(self, connection: ConnectionId, code: ErrorCode, sentence: str) -> None:
        self._outbox.tally("worker_refusal", code.value)
        self._outbox.send(connection, WorkerRefused(code=code, message=sentence))
        self._outbox.close(connection, CLOSE_POLICY, code.value)
