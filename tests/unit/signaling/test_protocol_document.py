"""PROTOCOL.md has a correct example of every message and names every error code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

import signaling
from signaling import protocol
from signaling.protocol import ErrorCode, decode, encode

DOCUMENT = (Path(signaling.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
UNIONS: dict[str, tuple[Any, TypeAdapter[Any]]] = {
    "Terminal to server": (protocol.TerminalMessage, protocol.TERMINAL_MESSAGE),
    "Server to terminal": (protocol.ServerMessage, protocol.SERVER_MESSAGE),
    "Worker to server": (protocol.WorkerMessage, protocol.WORKER_MESSAGE),
    "Server to worker": (protocol.WorkerCommand, protocol.WORKER_COMMAND),
}


def section(title: str) -> str:
    return re.split(r"^## ", DOCUMENT.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.M)[0]


def entries(title: str) -> list[tuple[str, str]]:
    """Heading and example of each message in a section."""
    found = []
    for part in re.split(r"^### ", section(title), flags=re.M)[1:]:
        examples = re.findall(r"```json\n(.*?)\n```", part, flags=re.S)
        assert len(examples) == 1, f"{part.splitlines()[0]}: one example each"
        found.append((part.splitlines()[0], examples[0]))
    return found


def types(union: Any) -> list[str]:
    """The type names of a discriminated union."""
    return [model.model_fields["type"].default for model in get_args(get_args(union)[0])]


@pytest.mark.parametrize("title", UNIONS)
def test_every_message_is_described_once(title: str) -> None:
    assert sorted(name for name, _ in entries(title)) == sorted(types(UNIONS[title][0]))


@pytest.mark.parametrize(
    ("title", "name", "example"),
    [(title, name, example) for title in UNIONS for name, example in entries(title)],
)
def test_every_example_is_a_message_of_its_type(title: str, name: str, example: str) -> None:
    message = decode(UNIONS[title][1], example)
    assert message.type == name
    shown, written = json.loads(example), json.loads(encode(message))
    assert {key: written.get(key) for key in shown} == shown, "a field is lost on the way"


def test_every_error_code_is_explained() -> None:
    assert re.findall(r"^\| `(\w+)` \|", section("Error codes"), flags=re.M) == [c.value for c in ErrorCode]
