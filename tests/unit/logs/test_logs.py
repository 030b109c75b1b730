"""Log lines: JSON that collectors read, with ids where known, without what opens doors or tells who."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from server.composition import compose
from server.logs import configure_logging, redact
from server.settings import Settings
from signaling.log_context import log_context
from signaling.tokens import mint


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 203.0.113.77.", "from 203.0.113.0/24."),
        ("peer 203.0.113.77:40000", "peer 203.0.113.0/24:40000"),
        ("at 2001:db8:1:2:3:4:5:6 now", "at 2001:db8:1::/48 now"),
        ("[2001:db8:1:2::6]:443", "[2001:db8:1::/48]:443"),
        ("on 127.0.0.1:8080, ::1 and 0.0.0.0", "on 127.0.0.1:8080, ::1 and 0.0.0.0"),
        ("at 12:30:59, version 1.2.3", "at 12:30:59, version 1.2.3"),
        ("/data/targets/t_abcdefghijklmnop-QRS/x.png", "/data/targets/t_(hidden)/x.png"),
        ("job a_abcdefghijklmnop-QRS", "job a_(hidden)"),
        (
            "built-in astronaut, terminal tAbc_defghijklmnopqrs",
            "built-in astronaut, terminal tAbc_defghijklmnopqrs",
        ),
    ],
)
def test_capabilities_and_addresses_are_hidden(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_join_tokens_are_hidden() -> None:
    token, _ = mint("k" * 40, room="r", ttl_s=60)
    assert redact(f"?token={token}&x") == "?token=(token)&x"


@pytest.mark.usefixtures("_logging_as_before")
async def test_json_lines_carry_what_tasks_inherit(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "worker", "json")
    logger = logging.getLogger("server.some")

    async def session() -> None:
        logger.warning("two\nlines of %s", "203.0.113.77")

    with log_context(terminal="tA", session=None):
        task = asyncio.create_task(session())
    await task
    logger.info("bare")
    logger.debug("not this")
    try:
        raise ValueError("t_abcdefghijklmnopqrst is gone")
    except ValueError:
        logger.exception("failed")
    first, second, third = lines(capsys)
    assert (first["message"], first["terminal"]) == ("two\nlines of 203.0.113.0/24", "tA")
    assert (first["level"], first["process"], first["logger"]) == ("warning", "worker", "server.some")
    assert first["time"].endswith("Z")
    assert "session" not in first
    assert "terminal" not in second
    assert third["exception"].endswith("ValueError: t_(hidden) is gone")


@pytest.mark.usefixtures("_logging_as_before")
def test_text_lines_carry_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "serve")
    with log_context(terminal="tA"):
        logging.getLogger("server.some").info("hello %s", "203.0.113.77")
    assert capsys.readouterr().err.rstrip().endswith("serve server.some: hello 203.0.113.0/24 terminal=tA")


@pytest.mark.usefixtures("_logging_as_before")
async def test_a_call_is_logged_by_ids_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "signaling", "json")
    secret_target = "t_secretcapabilityofanupload"
    app = compose(Settings(data_dir=tmp_path), needs_worker=False)
    async with TestClient(TestServer(app)) as client:
        ada, bob = await client.ws_connect("/ws"), await client.ws_connect("/ws")
        ids = {}
        for socket, name in ((ada, "Ada Lovelace"), (bob, "Bob Hoskins")):
            await socket.send_json({"type": "hello", "name": name})
            ids[name] = (await socket.receive_json())["terminal"]
            await socket.send_json({"type": "target.select", "target": secret_target})
            await socket.send_json({"type": "room.join", "room": "the-secret-room"})
        async with asyncio.timeout(10):
            while (await bob.receive_json())["type"] != "room.state":
                pass
        await ada.send_json(
            {"type": "relay.request", "kind": "text", "mode": "reenacted", "to": [ids["Bob Hoskins"]]}
        )
        async with asyncio.timeout(10):
            while (message := await bob.receive_json())["type"] != "relay.incoming":
                pass
            await bob.send_json({"type": "relay.accept", "request": message["request"], "mode": "reenacted"})
            while (message := await ada.receive_json())["type"] != "call.state":
                pass
    logged = lines(capsys)
    joined = [line for line in logged if line["message"].startswith("call.joined")]
    assert {line["terminal"] for line in joined} == set(ids.values())
    assert {line["call"] for line in joined} == {message["call"]}
    text = json.dumps(logged)
    for private in ("Ada", "Lovelace", "Hoskins", secret_target, "the-secret-room"):
        assert private not in text


def test_the_command_logs_as_it_is_told(tmp_path: Path) -> None:
    """A worker whose signaling cannot be reached says so in JSON."""
    program = (
        "import logging\n"
        "from server.settings_sources import load_settings\nfrom server.logs import configure_logging\n"
        "s = load_settings().settings; configure_logging(s.log_level, 'worker', s.log_format)\n"
        "logging.getLogger('x').info('here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"UNDERSTUDY_LOG_FORMAT": "JSON", "UNDERSTUDY_CONFIG": "", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stderr)["message"] == "here"
