"""``understudy audit show``, ``audit purge`` and ``forget``."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from server.audit.database import AuditDatabase, database_url
from server.audit.entries import OF_TARGET, AuditEntry, target_hash
from server.errors import UserError
from server.settings import Settings
from server.targets.store import TargetProtected, TargetStore, TargetUnknown

_HASH = re.compile(r"[0-9a-f]{64}")
_HASH_SHOWN = 12
_WIDEST = 1_000_000
_ROOMY = 60


@contextmanager
def _opened(settings: Settings, *, make: bool = False) -> Iterator[AuditDatabase]:
    """The log's database; one that is not there yet is made only on demand, not by who merely looks."""
    try:
        url = database_url(settings.audit_url.get_secret_value(), settings.data_dir)
        file = url.database if url.get_backend_name() == "sqlite" else None
        if not make and file is not None and not Path(file).exists():
            raise UserError(f"There is no audit log at {file}; is this the data_dir of the service?")
        database = AuditDatabase(url)
        try:
            yield database
        finally:
            database.close()
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise UserError(f"The audit log cannot be reached: {cause}") from None


def show(
    settings: Settings,
    *,
    limit: int,
    hours: float | None,
    room: str | None,
    target: str | None,
    event: str | None,
    as_json: bool,
) -> None:
    """Print entries, oldest first.

    Args:
        settings: where the log is.
        limit: the newest so many.
        hours: of the last so many.
        room, event: of these alone.
        target: of this target alone, by id or hash.
        as_json: one object a line.
    """
    since = None if hours is None else time.time() - hours * 3600
    wanted = None if target is None else target if _HASH.fullmatch(target) else target_hash(target)
    with _opened(settings) as database:
        entries = database.read(limit=limit, since=since, room=room, target=wanted, event_name=event)
    if as_json:
        for entry in entries:
            print(json.dumps({"when": _when(entry), **asdict(entry)}))
        return
    table = Table("when", "event", "who", "from", "room", "target", "detail", box=SIMPLE)
    for column in table.columns:
        column.overflow = "fold"  # in a narrow window every cell goes on below; nothing is left out
    for entry in entries:
        who = " ".join(filter(None, (entry.name, entry.terminal, entry.token)))
        cells = (who, entry.address, entry.room, (entry.target or "")[:_HASH_SHOWN], entry.detail)
        table.add_row(_when(entry), entry.event, *(escape(cell or "") for cell in cells))
    console = Console()
    if not console.is_terminal:  # a file or another program has no width
        console.width = max(
            1, Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
        )
    console.print(table)


def purge(settings: Settings, days: float | None) -> None:
    """Delete entries older than ``days``, by default than the settings say."""
    days = settings.audit_retention_days if days is None else days
    with _opened(settings) as database:
        deleted = database.purge(time.time() - days * 86400)
    Console().print(f"Deleted {deleted} entries older than {days:g} days.")


def forget_target(settings: Settings, target: str) -> None:
    """Delete a target, what was animated of it, and all that was logged of it; log that one was forgotten.

    Raises:
        UserError: it is built in, or neither the target nor anything logged of it was there.
    """
    store = TargetStore(settings.data_dir)
    try:
        store.delete(target)
        deleted = True
    except TargetProtected:
        raise UserError(f"{target} is built in: nobody's photos are in it.") from None
    except TargetUnknown:  # it may have expired, and be in the log still
        deleted = False
    animations = _forget_animations(settings.data_dir, target_hash(target))
    with _opened(settings, make=True) as database:
        entries = database.forget(target_hash(target))
        if not deleted and not animations and not entries:
            raise UserError("There is no such target, and nothing was logged of it.")
        database.write([AuditEntry(event="target.forgotten", detail=f"{entries} entries")])
    pictures = "Deleted its pictures" if deleted else "Its pictures were gone already"
    Console().print(f"{pictures}; deleted {animations} animations and {entries} entries of the audit log.")


def _forget_animations(data_dir: Path, hashed: str) -> int:
    """Delete the animations that were made of a target; their number."""
    found = 0
    for path in (data_dir / "animations").glob(f"*/{OF_TARGET}"):
        try:
            if path.read_text() != hashed:
                continue
        except OSError:  # it has just expired
            continue
        shutil.rmtree(path.parent, ignore_errors=True)
        found += 1
    return found


def _when(entry: AuditEntry) -> str:
    return datetime.fromtimestamp(entry.at, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
