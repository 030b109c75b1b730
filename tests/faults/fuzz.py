"""A seeded fuzzer of messages: valid ones, and what becomes of them on the way to a parser's nightmares."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 2**64, -(2**80), 1e308, 1.5),
    *("", " ", "\x00", "\ud800", "\u202e", "x" * 300, "x" * 5000, "../../etc/passwd", "__proto__", "0" * 64),
    *([], {}, [[]], [None] * 100, {"type": "bye"}),
)
STUFFING = ("\x00", "}", '"', "[" * 20_000, '{"a":' * 5_000, "\u202e", "1e999", "NaN", "\\ud800")


def mutated_message(chance: random.Random, valid: dict[str, Any]) -> str | bytes:
    """A message that was valid: as text, or as bytes where it is to go out as such.

    Wrong types, missing and strange fields, huge numbers, deep nesting, broken JSON, invalid UTF-8.
    """
    message: Any = copy.deepcopy(valid)
    for _ in range(chance.randrange(3)):
        message = _with_a_wrong_field(chance, message)
    text = json.dumps(message)
    return chance.choice(_WAYS)(chance, text)


def _with_a_wrong_field(chance: random.Random, message: dict[str, Any]) -> dict[str, Any]:
    place: dict[str, Any] = message
    while True:
        key = chance.choice(list(place))
        inner = place[key]
        if not (isinstance(inner, dict) and inner and chance.random() < 0.7):
            break
        place = inner
    match chance.randrange(4):
        case 0:
            del place[key]
        case 1:
            place[key] = chance.choice(HOSTILE)
        case 2:
            place[chance.choice(["type", "id", "re", "x", "__class__", "\x00"])] = chance.choice(HOSTILE)
        case _:
            place[key] = [place[key]]
    return message or {"type": 1}


def _whole(chance: random.Random, text: str) -> str:
    return text


def _cut(chance: random.Random, text: str) -> str:
    return text[: chance.randrange(1, len(text))]


def _stuffed(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text))
    stuffing = chance.choice(
        ["\x00", "}", "[" * 20_000, '{"a":' * 5_000, "\u202e", "1e999", "NaN", "\\ud800", '"']
    )
    return text[:at] + stuffing + text[at:]


def _deep(chance: random.Random, text: str) -> str:
    depth = chance.choice([50, 900, 1100, 12_000])
    return '{"type":"text.send","text":' + "[" * depth + "]" * depth + "}"


def _huge_number(chance: random.Random, text: str) -> str:
    return '{"type":"ping","id":' + "9" * chance.choice([20, 400, 5000, 20_000]) + "}"


def _binary(chance: random.Random, text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _flipped(chance: random.Random, text: str) -> str:
    flipped = list(text)
    for _ in range(chance.randrange(1, 6)):
        flipped[chance.randrange(len(flipped))] = chr(chance.randrange(1, 0x250))
    return "".join(flipped)


_WAYS: tuple[Callable[[random.Random, str], str | bytes], ...] = (
    _whole, _whole, _whole, _cut, _stuffed, _deep, _huge_number, _binary, _flipped,
)  # fmt: skip
