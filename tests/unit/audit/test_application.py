"""The audit log in the application, and its commands: what is kept, what is not, and being forgotten."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import FormData
from rich.console import Console
from typer.testing import CliRunner

from server.app import STORE
from server.audit.database import AuditDatabase, database_url
from server.audit.entries import AuditEntry, target_hash
from server.audit.service import AUDIT
from server.cli import app as commands
from server.composition import compose
from server.errors import UserError
from server.settings import Settings
from server.targets.store import Consent
from tests.integration.app.conftest import encoded, form, photo
from tests.unit.access.conftest import API_KEY, JOIN_KEY, Start, start

__all__ = ["photo", "start"]  # fixtures

STATEMENT = "I am the person in these photos, or that person has agreed."


def logged(folder: Path) -> list[AuditEntry]:
    database = AuditDatabase(database_url("", folder))
    try:
        return database.read(limit=10_000)
    finally:
        database.close()


def kept(folder: Path) -> list[Path]:
    """The log's files."""
    return sorted(folder.glob("audit*"))


async def say(socket: Any, **message: Any) -> dict[str, Any]:
    await socket.send_json(message)
    return dict(await socket.receive_json(timeout=5))


async def test_who_when_which_target_which_room(start: Start, tmp_path: Path) -> None:
    client = await start(join_key=JOIN_KEY, api_key=API_KEY)
    backend = {"Authorization": f"Bearer {API_KEY}"}
    wish = {"room": "quiet-heron", "name": "Ada"}
    async with client.post("/api/tokens", json=wish, headers=backend) as response:
        minted = await response.json()
    async with client.ws_connect("/ws") as socket:
        assert (await say(socket, type="hello", name="Eve", token="no"))["code"] == "token_refused"
    async with client.ws_connect("/ws") as socket:
        welcome = await say(socket, type="hello", name="x", token=minted["token"])
        await socket.send_json({"type": "target.select", "target": "t_secret-capability"})
        await say(socket, type="room.join", room="quiet-heron")
        await socket.send_json({"type": "bye"})
        await socket.receive(timeout=5)
    await client.close()

    entries = logged(tmp_path)
    hashed = target_hash("t_secret-capability")
    told = [(e.event, e.room, e.target, e.token, e.detail) for e in entries]
    assert told == [
        ("token.minted", "quiet-heron", None, minted["id"], "guest"),
        ("access.denied", None, None, None, "token_refused"),
        ("terminal.arrived", None, None, minted["id"], None),
        ("target.selected", None, hashed, minted["id"], None),
        ("room.entered", "quiet-heron", hashed, minted["id"], None),
        ("room.left", "quiet-heron", hashed, minted["id"], "left"),
        ("terminal.gone", None, hashed, minted["id"], "left"),
    ]
    assert {e.terminal for e in entries[2:]} == {welcome["terminal"]}
    assert {e.name for e in entries[2:]} == {"Ada"}
    assert {e.address for e in entries[:5]} == {"127.0.0.1"}
    content = b"".join(path.read_bytes() for path in kept(tmp_path))
    for secret in (b"t_secret-capability", minted["token"].encode(), welcome["resume"].encode()):
        assert secret not in content


async def test_uploads_record_the_statement_of_consent(start: Start, tmp_path: Path, photo: Any) -> None:
    client = await start()
    picture = encoded(photo)
    async with client.post("/api/targets", data=form(("a.jpg", picture), text=STATEMENT)) as response:
        assert response.status == 201
        target = (await response.json())["id"]
    async with client.delete(f"/api/targets/{target}") as response:
        assert response.status == 204
    async with client.delete(f"/api/targets/{target}") as response:
        assert response.status == 404
    await client.close()
    assert [(e.event, e.target, e.detail, e.address) for e in logged(tmp_path)] == [
        ("target.uploaded", target_hash(target), STATEMENT, "127.0.0.1"),
        ("target.deleted", target_hash(target), None, "127.0.0.1"),
    ]
    content = (tmp_path / "audit.db").read_bytes()
    assert len(content) < len(picture)
    assert target.encode() not in content


async def test_calls_go_on_without_the_database(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("no folder")
    client = await start(audit_url=f"sqlite:///{tmp_path}/a file/audit.db")
    async with client.ws_connect("/ws") as socket:
        assert (await say(socket, type="hello", name="Ada"))["type"] == "welcome"
        assert (await say(socket, type="room.join", room="r"))["type"] == "room.state"
    log = client.server.app[AUDIT]
    while log.writer._failing_since is None:
        await asyncio.sleep(0.01)
    async with client.get("/metrics") as response:
        text = await response.text()
    assert "understudy_audit_up 0.0" in text
    assert "understudy_audit_waiting 2.0" in text
    assert "The audit log cannot be written" in caplog.text


async def test_log_can_be_switched_off(start: Start, tmp_path: Path) -> None:
    client = await start(audit_enabled=False)
    async with client.ws_connect("/ws") as socket:
        assert (await say(socket, type="hello", name="Ada"))["type"] == "welcome"
    await client.close()
    assert kept(tmp_path) == []


async def test_animations_record_consent_or_whose_face(start: Start, tmp_path: Path, photo: Any) -> None:
    client = await start()
    target = kept_target(Settings(data_dir=tmp_path))
    for field in (("photos", encoded(photo)), ("target", target)):
        data = FormData(default_to_multipart=True)
        data.add_field("templates", "happy")
        data.add_field(*field, **({"filename": "a.jpg"} if field[0] == "photos" else {}))
        if field[0] == "photos":
            data.add_field("consent", "true")
            data.add_field("consent_text", STATEMENT)
        async with client.post("/api/animate", data=data) as response:
            assert response.status == 202, await response.text()
            job = (await response.json())["id"]
    assert (tmp_path / "animations" / job / "target").read_text() == target_hash(target)
    await client.close()
    assert [(e.event, e.target, e.detail) for e in logged(tmp_path)] == [
        ("animation.ordered", None, STATEMENT),
        ("animation.ordered", target_hash(target), None),
    ]


# ------------------------------------------------------------ commands


def run(*arguments: str, folder: Path) -> Any:
    environment = {"UNDERSTUDY_CONFIG": "", "UNDERSTUDY_DATA_DIR": str(folder)}
    return CliRunner().invoke(commands, list(arguments), env=environment)


def kept_target(settings: Settings) -> str:
    store = compose(settings, needs_worker=False)[STORE]
    crop = np.zeros((1, 512, 512, 3), np.uint8)
    record = store.save(crop, np.zeros((1, 478, 3), np.float32), name="x", consent=Consent("I may.", 1.0))
    return record.id


def test_forget_leaves_nothing_of_a_target(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    target, other = kept_target(settings), kept_target(settings)
    database = AuditDatabase(database_url("", tmp_path))
    hashes = [target_hash(target)] * 3 + [target_hash(other)]
    database.write([AuditEntry(event="target.selected", room="r", target=hashed) for hashed in hashes])
    database.close()

    for name, of in (("a_1", target), ("a_2", other)):
        (tmp_path / "animations" / name).mkdir(parents=True)
        (tmp_path / "animations" / name / "target").write_text(target_hash(of))

    result = run("forget", target, folder=tmp_path)
    assert "Deleted its pictures; deleted 1 animations and 3 entries" in result.stdout
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(target in str(path) for path in left)
    content = b"".join(path.read_bytes() for path in left)
    assert target.encode() not in content
    assert target_hash(target).encode() not in content
    assert target_hash(other).encode() in content
    assert [(e.event, e.target, e.detail) for e in logged(tmp_path)][1:] == [
        ("target.forgotten", None, "3 entries")
    ]
    assert isinstance(run("forget", target, folder=tmp_path).exception, UserError)
    assert "built in" in str(run("forget", "astronaut", folder=tmp_path).exception)


def test_show_and_purge(tmp_path: Path) -> None:
    database = AuditDatabase(database_url("", tmp_path))
    old = AuditEntry(at=1_700_000_000.0, event="room.entered", name="[bold]Ada[/]", room="old")
    database.write([old, AuditEntry(event="room.entered", room="new", target=target_hash("t_1"))])
    database.close()
    shown = run("audit", "show", folder=tmp_path).stdout
    assert "2023-11-14" in shown
    assert "[bold]" in shown
    lines = run("audit", "show", "--json", "--target", "t_1", folder=tmp_path).stdout.splitlines()
    assert [json.loads(line)["room"] for line in lines] == ["new"]
    by_hash = run("audit", "show", "--json", "--target", target_hash("t_1"), folder=tmp_path).stdout
    assert by_hash.splitlines() == lines
    assert "Deleted 1 entries older than 90 days" in run("audit", "purge", folder=tmp_path).stdout
    assert [entry.room for entry in logged(tmp_path)] == ["new"]
    assert "Deleted 1" in run("audit", "purge", "--days", "0", folder=tmp_path).stdout


@pytest.mark.parametrize("columns", [80, 130, None])
def test_show_leaves_nothing_out_however_narrow_the_window(
    tmp_path: Path, columns: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = AuditEntry(
        at=1.0,
        event="target.uploaded",
        name="Ada Lovelace",
        terminal=f"t_{'x' * 30}",
        address="192.168.100.200",
        room="daily-meeting",
        target=target_hash("t_1"),
        detail=f"consent: {STATEMENT} {'word ' * 30}END",
    )
    database = AuditDatabase(database_url("", tmp_path))
    database.write([entry])
    database.close()
    monkeypatch.setenv("COLUMNS", "80")
    if columns is not None:
        window = Console(width=columns, force_terminal=True, color_system=None)
        monkeypatch.setattr("server.audit.commands.Console", lambda: window)
        with window.capture() as captured:
            run("audit", "show", folder=tmp_path)
        head, _, *rows = (line for line in captured.get().splitlines() if line.strip())
        assert len(head) <= columns
    else:
        printed = run("audit", "show", folder=tmp_path).stdout
        head, _, *rows = (line for line in printed.splitlines() if line.strip())
        assert len(rows) == 1
    names = ("when", "event", "who", "from", "room", "target", "detail")
    places = [*(head.index(f" {name} ") for name in names), None]
    cells = [
        "".join("".join(row[begin:end].split()) for row in rows) for begin, end in itertools.pairwise(places)
    ]
    assert cells == [
        "1970-01-0100:00:01Z",
        entry.event,
        f"AdaLovelace{entry.terminal}",
        entry.address,
        entry.room,
        target_hash("t_1")[:12],
        "".join(str(entry.detail).split()),
    ]


@pytest.mark.parametrize("verb", ["show", "purge"])
def test_reading_a_log_that_is_not_there_makes_none(tmp_path: Path, verb: str) -> None:
    result = run("audit", verb, folder=tmp_path / "none")
    assert isinstance(result.exception, UserError)
    assert str(tmp_path / "none" / "audit.db") in str(result.exception)
    assert not (tmp_path / "none").exists()


def test_a_database_out_of_reach_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "audit.db").write_text("this is no database, it is a text of some length" * 100)
    result = run("audit", "show", folder=tmp_path)
    assert isinstance(result.exception, UserError)
    assert "cannot be reached" in str(result.exception)
