"""Writes the audit log in a thread of its own: no call ever waits for it, or ends because of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from server.audit.database import AuditDatabase
from server.audit.entries import AuditEntry

logger = logging.getLogger(__name__)

BATCH: Final = 500
PURGE_EVERY_S: Final = 3600.0
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0
_SAY_AGAIN_S: Final = 300.0


class AuditWriter:
    """Takes entries from any thread and writes them as soon as the database lets it.

    While the database is dead or its disk full, entries wait in memory, the newest ``most_waiting`` of
    them; older ones are lost and counted. The log says so when it begins, every five minutes, and at its end.

    Args:
        connect: opens the database (and migrates it); tried again until it succeeds.
        registry: where metrics are registered.
        retention_s: entries are deleted after this long.
        most_waiting: entries kept in memory.
        first_wait_s: before the first new attempt; each further wait is twice as long, up to 30 s.
    """

    def __init__(
        self,
        connect: Callable[[], AuditDatabase],
        registry: CollectorRegistry,
        *,
        retention_s: float,
        most_waiting: int = 20_000,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        self._connect = connect
        self._retention_s = retention_s
        self._first_wait_s = first_wait_s
        self._most_waiting = most_waiting
        self._waiting: deque[AuditEntry] = deque()
        self._batch: list[AuditEntry] = []  # taken out to be written; kept until that succeeds
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._database: AuditDatabase | None = None
        self._purge_at = 0.0
        self._failing_since: float | None = None
        self._said_at = 0.0
        self._written = Counter("understudy_audit_written", "Audit entries written.", registry=registry)
        self._lost = Counter(
            "understudy_audit_lost", "Audit entries that could not be written.", registry=registry
        )
        self._failures = Counter(
            "understudy_audit_failures", "Failed attempts to use the audit database.", registry=registry
        )
        waiting = Gauge("understudy_audit_waiting", "Audit entries that wait.", registry=registry)
        waiting.set_function(self._left)
        self._up = Gauge(
            "understudy_audit_up", "1 while the audit database takes what is written.", registry=registry
        )

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, entry: AuditEntry) -> None:
        """Have an entry written; returns at once, whatever the database does."""
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                self._waiting.popleft()
                self._lost.inc()
            self._waiting.append(entry)
            self._changed.notify()

    def close(self, within: float = 1.0) -> None:
        """Write what waits, but not for longer than that (seconds); blocks."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(within)
        if left := self._left():
            self._lost.inc(left)
            logger.error("%d audit entries were not written before the end.", left)

    def _left(self) -> int:
        return len(self._waiting) + len(self._batch)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        wait = self._first_wait_s
        while True:
            try:
                self._work()
                wait = self._first_wait_s
            except Exception as error:  # whatever a database or a driver thinks of: calls go on
                self._failed(error)
                if self._stopping:
                    break
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, wait)
                wait = min(_LONGEST_WAIT_S, 2 * wait)
                continue
            if self._stopping and not self._left():
                break
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping, PURGE_EVERY_S)
        if self._database is not None:
            self._database.close()

    def _work(self) -> None:
        if self._database is None:
            self._database = self._connect()
        while self._take():
            written = self._write(self._database, self._batch)
            self._written.inc(written)
            self._batch = []
        if time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + PURGE_EVERY_S
            if purged := self._database.purge(time.time() - self._retention_s):
                logger.info("Deleted %d audit entries that were older than they may be.", purged)
        self._succeeded()

    def _take(self) -> bool:
        with self._changed:
            while self._waiting and len(self._batch) < BATCH:
                self._batch.append(self._waiting.popleft())
        return bool(self._batch)

    def _write(self, database: AuditDatabase, batch: list[AuditEntry]) -> int:
        """Write a batch; the number of entries that the database took."""
        try:
            database.write(batch)
            return len(batch)
        except DBAPIError as error:
            if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
                raise
        # One of them is what the database refuses: it must not keep the others back for ever.
        taken = 0
        while batch:
            try:
                database.write(batch[:1])
                taken += 1
            except (OperationalError, InterfaceError):
                self._written.inc(taken)
                raise
            except DBAPIError as error:
                self._lost.inc()
                logger.error("An audit entry (%s) was refused: %s", batch[0].event, type(error.orig).__name__)
            del batch[0]
        return taken

    def _failed(self, error: Exception) -> None:
        self._up.set(0)
        self._failures.inc()
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._said_at < _SAY_AGAIN_S:
            return
        self._said_at = now
        # Not the error whole: it repeats what was to be written.
        cause = getattr(error, "orig", None) or error
        logger.error(
            "The audit log cannot be written: %s: %s. Calls go on; %d entries wait, of at most %d.",
            type(cause).__name__,
            str(cause).strip().splitlines()[0] if str(cause).strip() else "",
            self._left(),
            self._most_waiting,
        )

    def _succeeded(self) -> None:
        if self._failing_since is not None:
            logger.warning(
                "The audit log is written again, after %.0f s.", time.monotonic() - self._failing_since
            )
            self._failing_since = None
        self._up.set(1)
