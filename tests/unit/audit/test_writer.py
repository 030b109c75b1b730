"""The thread that writes: never in the way, whatever the database does; loses nothing it need not lose."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event, text
from sqlalchemy.exc import DataError, OperationalError

from server.audit.database import AuditDatabase, database_url
from server.audit.entries import AuditEntry
from server.audit.writer import AuditWriter


def entries(count: int, at: float | None = None) -> list[AuditEntry]:
    at = time.time() if at is None else at
    return [AuditEntry(at=at, event="room.entered", room=f"r{k}") for k in range(count)]


def eventually(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


class House:
    """A writer on a database whose connecting can be made to fail."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.folder = folder
        self.dead = False
        self.database: Any = None
        options = {"retention_s": 1000.0, "first_wait_s": 0.01, **options}
        self.writer = AuditWriter(self.connect, self.registry, **options)

    def connect(self) -> Any:
        if self.dead:
            raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))
        self.database = self.database or AuditDatabase(database_url("", self.folder))
        return self.database

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"understudy_audit_{name}")

    def rooms(self) -> list[str | None]:
        reading = AuditDatabase(database_url("", self.folder))
        try:
            return [entry.room for entry in reading.read(limit=100_000)]
        finally:
            reading.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    if house.writer._thread.is_alive():
        house.dead = False
        house.writer.close(10)


def test_everything_is_written_in_order(house: House) -> None:
    house.writer.start()
    for entry in entries(1234):
        house.writer.put(entry)
    house.writer.close(20)
    assert house.rooms() == [f"r{k}" for k in range(1234)]
    assert (house.metric("written_total"), house.metric("lost_total")) == (1234, 0)
    assert house.metric("waiting") == 0


def test_database_that_is_dead_at_the_start_is_written_when_it_is_back(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.dead = True
    house.writer.start()
    with caplog.at_level(logging.WARNING):
        for entry in entries(3):
            house.writer.put(entry)
        eventually(lambda: (house.metric("failures_total") or 0) >= 3)
        assert (house.metric("up"), house.metric("waiting")) == (0, 3)
        house.dead = False
        eventually(lambda: house.metric("written_total") == 3)
        eventually(lambda: house.metric("up") == 1)
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "cannot be written" in line]) == 1, "said once, not at each attempt"
    assert "Calls go on" in said[0]
    assert "is written again" in said[-1]


def test_full_disk_ends_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite is given no page more than it has: its own "database or disk is full"."""
    database = house.connect()

    def bound(connection: Any, record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}").close()

    event.listen(database.engine, "connect", bound)
    database.engine.dispose()
    house.writer.start()
    with caplog.at_level(logging.ERROR):
        for entry in entries(3000):
            house.writer.put(entry)
        eventually(lambda: (house.metric("failures_total") or 0) >= 2)
    assert "disk is full" in caplog.text
    assert house.metric("up") == 0
    event.remove(database.engine, "connect", bound)  # somebody made room
    database.engine.dispose()
    eventually(lambda: house.metric("written_total") == 3000)
    assert sorted(house.rooms(), key=str) == sorted((f"r{k}" for k in range(3000)), key=str)


class Stuck:
    """A database that does not answer until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Event()
        self.written: list[AuditEntry] = []

    def write(self, batch: Sequence[AuditEntry]) -> None:
        self.asked.set()
        assert self.go.wait(20)
        self.written += batch

    def purge(self, before: float) -> int:
        return 0

    def close(self) -> None:
        pass


def test_nobody_waits_for_a_database_that_hangs(tmp_path: Path) -> None:
    house = House(tmp_path, most_waiting=10)
    stuck = house.database = Stuck()
    house.writer.start()
    first, *others = entries(31)
    house.writer.put(first)
    assert stuck.asked.wait(20)
    for entry in others:  # would never return if it waited: the database is let go only after it
        house.writer.put(entry)
    assert house.metric("lost_total") == 20
    assert house.metric("waiting") == 11
    stuck.go.set()
    house.writer.close(20)
    assert [entry.room for entry in stuck.written] == ["r0", *(f"r{k}" for k in range(21, 31))]


def test_the_end_waits_for_a_while_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    house = House(tmp_path)
    stuck = house.database = Stuck()
    house.writer.start()
    house.writer.put(entries(1)[0])
    assert stuck.asked.wait(20)
    house.writer.close(0.05)
    assert house.metric("lost_total") == 1
    assert "1 audit entries were not written" in caplog.text
    stuck.go.set()


class Fussy(Stuck):
    """A database that takes everything but one entry."""

    def write(self, batch: Sequence[AuditEntry]) -> None:
        if any(entry.room == "r5" for entry in batch):
            raise DataError("INSERT", {}, Exception("out of range"))
        self.written += batch


def test_entry_that_is_refused_holds_no_other_back(tmp_path: Path) -> None:
    house = House(tmp_path)
    fussy = house.database = Fussy()
    for entry in entries(10):
        house.writer.put(entry)
    house.writer.start()
    house.writer.close(20)
    assert [entry.room for entry in fussy.written] == [f"r{k}" for k in range(10) if k != 5]
    assert (house.metric("written_total"), house.metric("lost_total")) == (9, 1)


def test_old_entries_go_by_themselves(house: House) -> None:
    house.connect().write(entries(5, at=time.time() - 2000))
    house.connect().write(entries(2))
    house.writer.start()
    eventually(lambda: house.rooms() == ["r0", "r1"])


def test_somebody_reading_does_not_keep_it_from_writing(house: House) -> None:
    reading = AuditDatabase(database_url("", house.folder))
    with reading.engine.connect() as connection:
        connection.execute(text("SELECT * FROM audit")).all()
        house.writer.start()
        house.writer.put(entries(1)[0])
        eventually(lambda: house.metric("written_total") == 1)
    reading.close()
