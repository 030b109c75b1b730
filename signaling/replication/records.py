"""The state machine's records as JSON and back: only its own classes, references kept."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import deque
from typing import Any, Final

from signaling.grants import Grant
from signaling.protocol import DriverUpdate, MediaStatus, Message, SessionClose, Text
from signaling.state import Answer, Call, MediaSession, RelayRequest, Room, State, Terminal, Worker

#: Records are referred to by others; each is written once.
_RECORDS: Final = {cls.__name__: cls for cls in (Terminal, Room, Call, RelayRequest, Worker)}
#: Values are written where they stand.
_VALUES: Final = {cls.__name__: cls for cls in (Grant, MediaSession)}
_MESSAGES: Final = {cls.__name__: cls for cls in (DriverUpdate, MediaStatus, SessionClose, Text)}
#: Not the state's own: each node's settings and source of chance.
_NOT_KEPT: Final = frozenset({"limits", "new_token"})


def schema() -> str:
    """A word for the records' fields: equal words, equal fields."""
    classes: list[Any] = [State, *_RECORDS.values(), *_VALUES.values()]
    fields = [[cls.__name__, *(f"{f.name}: {f.type}" for f in dataclasses.fields(cls))] for cls in classes]
    models = [[name, *map(str, cls.model_fields.items())] for name, cls in _MESSAGES.items()]
    return hashlib.sha256(repr([fields, models]).encode()).hexdigest()[:16]


def dump_state(state: State) -> dict[str, Any]:
    """The whole state as what JSON can hold."""
    writer = _Writer()
    kept = {name: writer.value(getattr(state, name)) for name in _kept_fields()}
    return {"state": kept, "records": writer.finish()}


def load_state(dumped: dict[str, Any], state: State) -> None:
    """Put what :func:`dump_state` gave in the place of all that the state holds.

    Raises:
        ValueError: it was not made by :func:`dump_state` of this version.
    """
    try:
        reader = _Reader(dumped["records"])
        values = {name: reader.value(dumped["state"][name]) for name in _kept_fields()}
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"this is no state of this version: {error!r}") from error
    for name, value in values.items():
        setattr(state, name, value)


def _kept_fields() -> list[str]:
    return [field.name for field in dataclasses.fields(State) if field.name not in _NOT_KEPT]


class _Writer:
    """Writes values; records are numbered as they are met and written one after the other, not nested."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._met: list[Any] = []

    def value(self, value: Any) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        name = type(value).__name__
        if name in _RECORDS:
            return {"record": self._number(value)}
        if name in _VALUES:
            return {name: [self.value(getattr(value, f.name)) for f in dataclasses.fields(value)]}
        if isinstance(value, Message) and name in _MESSAGES:
            return {name: value.model_dump(mode="json", by_alias=True)}
        match value:
            case Answer():
                return {"Answer": value.name}
            case dict():
                return {"dict": [[self.value(key), self.value(item)] for key, item in value.items()]}
            case set():
                return {"set": sorted(self.value(item) for item in value)}
            case deque():
                return {"deque": [value.maxlen, *map(self.value, value)]}
            case list() | tuple():
                return {type(value).__name__: [self.value(item) for item in value]}
        raise TypeError(f"a {name} cannot be part of the state")

    def finish(self) -> list[Any]:
        records: list[Any] = []
        for record in self._met:  # grows while it is gone through
            fields = [self.value(getattr(record, f.name)) for f in dataclasses.fields(record)]
            records.append([type(record).__name__, fields])
        return records

    def _number(self, record: Any) -> int:
        if id(record) not in self._numbers:
            self._numbers[id(record)] = len(self._met)
            self._met.append(record)
        return self._numbers[id(record)]


class _Reader:
    def __init__(self, records: list[Any]) -> None:
        classes = [_RECORDS[name] for name, _ in records]
        self._records: list[Any] = [cls.__new__(cls) for cls in classes]
        for record, (_, fields) in zip(self._records, records, strict=True):
            for field, value in zip(dataclasses.fields(record), fields, strict=True):
                setattr(record, field.name, self.value(value))

    def value(self, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        ((name, content),) = written.items()
        if name == "record":
            return self._records[content]
        if name in _VALUES:
            return _VALUES[name](*map(self.value, content))
        if name in _MESSAGES:
            return _MESSAGES[name].model_validate(content)
        match name:
            case "Answer":
                return Answer[content]
            case "dict":
                return {self.value(key): self.value(item) for key, item in content}
            case "set":
                return {self.value(item) for item in content}
            case "deque":
                return deque(map(self.value, content[1:]), content[0])
            case "list":
                return [self.value(item) for item in content]
            case "tuple":
                return tuple(self.value(item) for item in content)
        raise ValueError(f"there is no {name} in a state")
