"""The audit log's database: migrated, written, read, purged, forgotten; on SQLite and on PostgreSQL."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from server.audit.database import AuditDatabase, database_url, metadata
from server.audit.entries import AuditEntry, target_hash
from server.errors import UserError

ROOT = Path(__file__).parents[3]


def entry(at: float = 1.0, event: str = "room.entered", **fields: str) -> AuditEntry:
    return AuditEntry(at=at, event=event, **fields)  # type: ignore[arg-type]


def test_what_is_written_is_read(url: URL) -> None:
    whole = AuditEntry(
        at=1_700_000_000.25,
        event="target.uploaded",
        terminal="tAda",
        name="Ada “the first” Λ",
        token="j1",
        address="2001:db8::1",
        room="quiet-heron",
        target=target_hash("t_1"),
        detail="I may. " * 100,
    )
    database = AuditDatabase(url)
    database.write([whole, entry(2.0)])
    assert database.read() == [whole, entry(2.0)]
    assert [e.at for e in database.read(limit=1)] == [2.0]
    assert database.read(room="quiet-heron") == database.read(target=target_hash("t_1")) == [whole]
    assert database.read(event_name="room.left") == []
    assert [e.at for e in database.read(since=2.0)] == [1_700_000_000.25, 2.0]
    database.close()


def test_migrations_lead_to_the_schema_that_the_code_uses(url: URL) -> None:
    AuditDatabase(url).close()
    database = AuditDatabase(url)  # a second start changes nothing
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "audit_version"})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == "0001"
    database.close()


def test_nodes_may_start_together(postgres: str, tmp_path: Path) -> None:
    import psycopg

    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS together WITH (FORCE)")
        connection.execute("CREATE DATABASE together")
    address = postgres.replace("/postgres", "/together")
    program = (
        "import pathlib, sys; from server.audit.database import AuditDatabase, database_url; "
        "AuditDatabase(database_url(sys.argv[1], pathlib.Path()))"
    )
    nodes = [subprocess.Popen([sys.executable, "-c", program, address], cwd=ROOT) for _ in range(3)]
    assert [node.wait(60) for node in nodes] == [0, 0, 0]
    assert AuditDatabase(database_url(address, tmp_path)).count() == 0


def test_threads_may_open_databases_together(tmp_path: Path) -> None:
    """In a process of its own: without the lock this ends in a segmentation fault, or in lost tables."""
    program = (
        "import pathlib, sys; from concurrent.futures import ThreadPoolExecutor\n"
        "from server.audit.database import AuditDatabase, database_url\n"
        "def opened(number):\n"
        "    return AuditDatabase(database_url('', pathlib.Path(sys.argv[1], str(number)))).count()\n"
        "with ThreadPoolExecutor(8) as pool: print(sum(pool.map(opened, range(32))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"0\n"), done.stderr.decode()


def test_text_that_a_database_does_not_take_is_made_takeable(url: URL) -> None:
    database = AuditDatabase(url)
    database.write([entry(name="a\0b\ud800", room="r" * 100)])
    (read,) = database.read()
    assert (read.name, read.room) == ("ab?", "r" * 64)
    database.close()


def test_purge_and_forget(url: URL) -> None:
    database = AuditDatabase(url)
    mine, other = target_hash("t_mine"), target_hash("t_other")
    database.write([entry(1.0), entry(5.0, target=mine), entry(6.0, target=other), entry(7.0, target=mine)])
    assert database.purge(5.0) == 1
    assert database.forget(mine) == 2
    assert [(e.at, e.target) for e in database.read()] == [(6.0, other)]
    database.close()


def test_forgotten_is_not_left_in_the_file(tmp_path: Path) -> None:
    database = AuditDatabase(database_url("", tmp_path))
    hidden = target_hash("t_mine")
    database.write([entry(name="Somebody Unmistakable", target=hidden)] * 50)
    assert database.forget(hidden) == 50
    database.close()
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert b"Unmistakable" not in content
        assert hidden.encode() not in content


def test_file_is_for_the_services_user_alone(tmp_path: Path) -> None:
    AuditDatabase(database_url("", tmp_path / "made")).close()
    assert stat.S_IMODE((tmp_path / "made" / "audit.db").stat().st_mode) == 0o600


def test_schema_of_a_later_version_is_left_alone(url: URL) -> None:
    database = AuditDatabase(url)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE audit_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(Exception, match="9999"):
        AuditDatabase(url)


def test_where_it_is_kept(tmp_path: Path) -> None:
    assert database_url("", tmp_path).database == str(tmp_path / "audit.db")
    for given in ("postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d"):
        assert database_url(given, tmp_path).drivername == "postgresql+psycopg"
    for wrong in ("mysql://h/d", "nonsense"):
        with pytest.raises(UserError) as caught:
            database_url(wrong, tmp_path)
        assert "audit_url" in str(caught.value)


def test_dead_database_is_an_error_soon(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(SQLAlchemyError):
        AuditDatabase(database_url("postgresql://u@127.0.0.1:1/d", tmp_path))
