"""What the replicated log consists of: events, and how they are written where others could reach them."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import astuple, dataclass
from typing import Any, Final, Literal

from signaling.grants import Admission, Denied, Grant
from signaling.protocol import TERMINAL_MESSAGE, WORKER_MESSAGE, ErrorCode, encode
from signaling.state import ConnectionId

#: A connection's id is its node's number, shifted by this, plus its number on that node.
NODE_SHIFT: Final = 32
SEAL_BYTES: Final = 16

Kind = Literal[
    "terminal",  # a message of a terminal
    "terminal_lost",
    "worker",  # a message of a media worker
    "worker_lost",
    "heard",  # signs of life on connections; also that of the node itself
    "tick",  # time has passed
    "joined",  # the node takes part (again) and has these connections, no others
    "left",  # the node ends
    "started",  # the log begins
]


class NotOurs(ValueError):
    """Something in the log or beside it that was not written with the cluster's key."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the log.

    Attributes:
        node: where it came in.
        kind: what it is.
        connection: on which it came.
        message: of a terminal or worker.
        admission: what a hello's join token was found to be.
        connections: those that ``heard`` and ``joined`` speak of.
    """

    node: int
    kind: Kind
    connection: ConnectionId = 0
    message: Any = None
    admission: Admission = None
    connections: tuple[ConnectionId, ...] = ()


def node_of(connection: ConnectionId) -> int:
    """The node that a connection is on."""
    return connection >> NODE_SHIFT


def seal(key: bytes, content: bytes) -> bytes:
    """The content behind a code that only who has the key can make (HMAC-SHA256, cut to 16 bytes)."""
    return hmac.digest(key, content, "sha256")[:SEAL_BYTES] + content


def unseal(key: bytes, sealed: bytes) -> bytes:
    """What :func:`seal` was given.

    Raises:
        NotOurs: the code is not the content's under this key.
    """
    code, content = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
    if not hmac.compare_digest(code, hmac.digest(key, content, "sha256")[:SEAL_BYTES]):
        raise NotOurs("this was written with another worker_secret, or by somebody else")
    return content


def derived_key(secret: str, purpose: str) -> bytes:
    """A key for one purpose, from a secret that serves others too."""
    return hmac.digest(secret.encode(), f"understudy {purpose}".encode(), hashlib.sha256)


def write_event(event: Event) -> bytes:
    """An event as JSON."""
    message = None if event.message is None else encode(event.message)
    admission = event.admission
    admitted = None if admission is None else [type(admission).__name__, *astuple(admission)]
    fields = [event.node, event.kind, event.connection, message, admitted, event.connections]
    return json.dumps(fields, separators=(",", ":")).encode()


def read_event(content: bytes) -> Event:
    """What :func:`write_event` was given.

    Raises:
        ValueError: it is none.
    """
    node, kind, connection, message, admitted, connections = json.loads(content)
    if message is not None:
        adapter = TERMINAL_MESSAGE if kind == "terminal" else WORKER_MESSAGE
        message = adapter.validate_json(message)
    return Event(node, kind, connection, message, _admission(admitted), tuple(connections))


def _admission(fields: list[Any] | None) -> Admission:
    if fields is None:
        return None
    name, *values = fields
    return Grant(*values) if name == "Grant" else Denied(ErrorCode(values[0]), values[1])
