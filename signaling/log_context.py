"""Which terminal, call or session a log record is about: set where it is known, inherited by tasks.

Only identifiers of this service's own making belong here: never names, rooms, targets or addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_FIELDS: Final[ContextVar[Mapping[str, str]]] = ContextVar("log_fields", default={})  # noqa: B039


@contextmanager
def log_context(**fields: str | None) -> Iterator[None]:
    """Add fields to what is logged inside, also by tasks started there.

    Args:
        fields: identifiers by kind (``terminal``, ``call``, ``session``); None adds nothing.
    """
    token = _FIELDS.set({**_FIELDS.get(), **{key: value for key, value in fields.items() if value}})
    try:
        yield
    finally:
        _FIELDS.reset(token)


def log_fields() -> Mapping[str, str]:
    """The fields of the present context."""
    return _FIELDS.get()
