"""The audit log in the running application: started, fed and stopped with it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from server.api_access import GRANT
from server.api_limits import client_address
from server.audit.database import AuditDatabase, database_url
from server.audit.entries import AuditEntry, entry_of, target_hash
from server.audit.writer import AuditWriter
from server.settings import Settings
from signaling.effects import Record
from signaling.grants import Grant


class AuditLog:
    """Takes what happens in signaling and over HTTP, and has it written.

    Args:
        settings: where it is kept and for how long.
        registry: where metrics are registered.

    Raises:
        UserError: ``audit_url`` is of no database that is supported.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        url = database_url(settings.audit_url.get_secret_value(), settings.data_dir)
        self._forwarded_header = settings.forwarded_header
        self.writer = AuditWriter(
            functools.partial(AuditDatabase, url),
            registry,
            retention_s=settings.audit_retention_days * 86400,
        )

    def signaling_record(self, record: Record, address: str | None) -> None:
        """Something happened in signaling."""
        self.writer.put(entry_of(record, address))

    def http_event(
        self,
        request: web.Request,
        event: str,
        *,
        target: str | None = None,
        detail: str | None = None,
        grant: Grant | None = None,
    ) -> None:
        """Something happened over HTTP.

        Args:
            request: by which.
            event: its name.
            target: the target's id, of which only the hash is kept.
            detail: a word more.
            grant: whom it concerns; by default who asked.
        """
        grant = grant or request.get(GRANT)
        entry = AuditEntry(
            event=event,
            name=None if grant is None else grant.name,
            token=None if grant is None else grant.id,
            address=client_address(request, self._forwarded_header),
            room=None if grant is None else grant.room,
            target=None if target is None else target_hash(target),
            detail=detail,
        )
        self.writer.put(entry)

    async def lifespan(self, app: web.Application) -> AsyncIterator[None]:
        """Cleanup context of the application."""
        self.writer.start()
        yield
        await asyncio.to_thread(self.writer.close)


#: Where an application keeps its log, if it has one.
AUDIT: Final = web.AppKey("audit", AuditLog)


def note(
    request: web.Request,
    event: str,
    *,
    target: str | None = None,
    detail: str | None = None,
    grant: Grant | None = None,
) -> None:
    """Have something that happened over HTTP logged, where a log is kept; see :meth:`AuditLog.http_event`."""
    log = request.app.get(AUDIT)
    if log is not None:
        log.http_event(request, event, target=target, detail=detail, grant=grant)
