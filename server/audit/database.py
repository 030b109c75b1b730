"""The audit log's database: SQLite or PostgreSQL through SQLAlchemy. Everything here blocks."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from server.audit.entries import AuditEntry
from server.errors import UserError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
FILE_NAME: Final = "audit.db"
#: A database that does not answer for this long is taken for dead, seconds.
PATIENCE_S: Final = 5
#: Held by whoever migrates: several nodes may start together on one PostgreSQL.
_MIGRATION_LOCK: Final = 0x756E6465
#: Alembic keeps the migration that runs in globals: of two threads one would work on the connection that the
#: other closes, which ends the process (sqlite3, segmentation fault).
_MIGRATING: Final = threading.Lock()

metadata = MetaData()
#: As the newest migration leaves it.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("event", String(32), nullable=False),
    Column("terminal", String(64)),
    Column("name", String(64)),
    Column("token", String(64)),
    Column("address", String(64)),
    Column("room", String(64), index=True),
    Column("target", String(64), index=True),
    Column("detail", Text),
)
_NAMES: Final = [column.name for column in fields(AuditEntry)]
_LENGTHS: Final = {name: getattr(audit.c[name].type, "length", None) for name in _NAMES}


def database_url(url: str, data_dir: Path) -> URL:
    """Where the log is kept: a URL as given, by default ``audit.db`` in the data directory.

    Raises:
        UserError: no URL, or of a kind of database that is not supported.
    """
    if not url:
        return URL.create("sqlite", database=str(data_dir / FILE_NAME))
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UserError("audit_url: this is no database URL (postgresql://user@host/name).") from None
    kind = parsed.drivername.partition("+")[0]
    if kind in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind == "sqlite":
        return parsed
    raise UserError(f"audit_url: {kind} is not supported; give a sqlite or postgresql URL.")


class AuditDatabase:
    """Writes, reads and deletes entries; brings the schema up to date when it is opened.

    Args:
        url: as :func:`database_url` gives it.

    Raises:
        UserError: the driver for PostgreSQL is not installed.
        sqlalchemy.exc.SQLAlchemyError, OSError: the database cannot be reached or migrated.
    """

    def __init__(self, url: URL) -> None:
        self.engine = _engine(url)
        try:
            migrate(self.engine)
        except BaseException:
            self.engine.dispose()
            raise

    def close(self) -> None:
        self.engine.dispose()

    def write(self, entries: Sequence[AuditEntry]) -> None:
        """Add entries, all or none."""
        with self.engine.begin() as connection:
            connection.execute(insert(audit), [_row(entry) for entry in entries])

    def read(
        self,
        *,
        limit: int = 100,
        since: float | None = None,
        room: str | None = None,
        target: str | None = None,
        event_name: str | None = None,
    ) -> list[AuditEntry]:
        """The newest entries, oldest first.

        Args:
            limit: at most so many.
            since: not before, seconds since the epoch.
            room, event_name: of these alone.
            target: of this target's hash alone.
        """
        query = select(*(audit.c[name] for name in _NAMES)).order_by(audit.c.id.desc()).limit(limit)
        wanted = {"room": room, "target": target, "event": event_name}
        for name, value in wanted.items():
            if value is not None:
                query = query.where(audit.c[name] == value)
        if since is not None:
            query = query.where(audit.c.at >= since)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [AuditEntry(**row) for row in reversed(rows)]

    def count(self) -> int:
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(audit)).scalar_one()

    def purge(self, before: float) -> int:
        """Delete entries older than that (seconds since the epoch); their number."""
        return self._delete(audit.c.at < before)

    def forget(self, target: str) -> int:
        """Delete all entries of a target's hash; their number."""
        return self._delete(audit.c.target == target)

    def _delete(self, condition: Any) -> int:
        with self.engine.begin() as connection:
            deleted = connection.execute(delete(audit).where(condition)).rowcount
        if deleted and self.engine.dialect.name == "sqlite":
            with self.engine.connect() as connection:  # what was deleted must not stay in the journal
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        return deleted


def migrate(engine: Engine) -> None:
    """Bring the schema up to date; one thread at a time."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection, _MIGRATING:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            _private_file(Path(url.database))
        engine = create_engine(url, connect_args={"timeout": PATIENCE_S})
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    try:
        return create_engine(
            url,
            pool_size=1,
            max_overflow=1,
            pool_pre_ping=True,
            pool_timeout=PATIENCE_S,
            connect_args={
                "connect_timeout": PATIENCE_S,
                "options": f"-c statement_timeout={PATIENCE_S}s -c lock_timeout={PATIENCE_S}s",
            },
        )
    except ModuleNotFoundError:
        raise UserError("PostgreSQL needs psycopg: pip install 'understudy[postgres]'.") from None


def _private_file(path: Path) -> None:
    """Make the file, readable by the service's own user alone, before anything is written to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def _prepare_sqlite(connection: Any, record: object) -> None:
    # WAL: who reads the log does not keep it from being written. Deleted entries are overwritten.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {name: _storable(value, _LENGTHS[name]) for name, value in asdict(entry).items()}


def _storable(value: Any, length: int | None) -> Any:
    """Text as every database takes it: no zero character, nothing that is no Unicode, not too long."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:length]
