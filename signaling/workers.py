"""The registry of media workers: who is there, with how much room, and which to give a terminal to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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
            self._left_behind(worker)
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

    def choose(self, places: int = 1) -> Worker:
        """A worker that takes more terminals: of two drawn at random the one with more room.

        Two choices spread calls nearly as well as looking at all, and do not send every call that comes
        between two heartbeats to the same worker (Mitzenmacher, "The Power of Two Choices in Randomized
        Load Balancing", 2001).

        Args:
            places: terminals that are to come; workers with room for all of them are preferred.

        Raises:
            Refusal: ``worker_unavailable`` without any worker, ``worker_busy`` when all are full or draining.
        """
        reachable = [w for w in self._state.workers.values() if w.connection is not None]
        if not reachable:
            raise Refusal(
                ErrorCode.WORKER_UNAVAILABLE, "No media worker is there at the moment; try again soon."
            )
        takers = [w for w in reachable if w.free > 0]
        if not takers:
            raise Refusal(ErrorCode.WORKER_BUSY, "All media workers are busy; try again in a while.")
        return min(self._two_of([w for w in takers if w.free >= places] or takers), key=lambda w: w.usage)

    def _two_of(self, workers: Sequence[Worker]) -> Sequence[Worker]:
        """Two of them, drawn with the state machine's own source of randomness; all, if there are but two."""
        if len(workers) <= 2:
            return workers
        drawn = int.from_bytes(hashlib.sha256(self._state.new_token(9).encode()).digest())
        drawn, first = divmod(drawn, len(workers))
        second = drawn % (len(workers) - 1)
        return workers[first], workers[second + (second >= first)]

    def disconnected(self, connection: ConnectionId, now: float) -> None:
        """The worker's connection is lost; its drivers are kept for a while in case it comes back."""
        worker = self._state.worker_by_connection.pop(connection, None)
        if worker is None:
            return
        worker.connection = None
        worker.lost_at = now
        self._left_behind(worker)
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
            elif worker.lost_at is not None and now - worker.lost_at >= self._grace_s(worker):
                expired.append(worker)
        for worker in expired:
            self._left_behind(worker)
            del self._state.workers[worker.id]
        return expired

    def _grace_s(self, worker: Worker) -> float:
        """How long a lost worker's sessions are waited for.

        The connection of a process that dies is closed at once, and so is one that only the network broke: it
        cannot be told apart. A worker that lives is back within a few tenths of a second, so where others can
        take its calls a second is enough; where none can, there is nothing to gain by giving up.
        """
        if worker.draining:
            return 0.0  # it went as it had said
        limits = self._state.limits
        room = sum(other.free for other in self._state.workers.values() if other.connection is not None)
        return (
            min(limits.worker_grace_s, limits.worker_handover_s)
            if room >= len(worker.drivers)
            else limits.worker_grace_s
        )

    def _left_behind(self, worker: Worker) -> None:
        """The sessions that played on at this worker are lost; their terminals have others."""
        for terminal in worker.leaving.values():
            terminal.former = None
        worker.leaving.clear()

    def _refuse(self, connection: ConnectionId, code: ErrorCode, sentence: str) -> None:
        self._outbox.tally("worker_refusal", code.value)
        self._outbox.send(connection, WorkerRefused(code=code, message=sentence))
        self._outbox.close(connection, CLOSE_POLICY, code.value)
