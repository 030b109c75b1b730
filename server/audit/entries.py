"""One line of the audit log, and how a target is named in it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Final

from signaling.effects import Record

#: In an animation's folder: names the target that it is made of by its hash.
OF_TARGET: Final = "target"
_DOMAIN: Final = b"understudy target\0"


def target_hash(target_id: str) -> str:
    """How the audit log names a target: SHA-256 of its id, 64 hexadecimal digits.

    An upload's id is its capability and stands nowhere; its hash cannot be turned back, having 192 random
    bits behind it. Who has the id finds all that was logged of it.
    """
    return hashlib.sha256(_DOMAIN + target_id.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What is kept of one event; None where it does not apply.

    Attributes:
        at: seconds since the epoch.
        event: ``terminal.arrived``, ``terminal.gone``, ``room.entered``, ``room.left``, ``call.joined``,
            ``call.left``, ``target.selected``, ``target.uploaded``, ``target.deleted``, ``target.forgotten``,
            ``animation.ordered``, ``token.minted``, ``access.denied``.
        terminal: id of the terminal.
        name: that others saw.
        token: id of the join token.
        address: where it came from.
        room: where.
        target: the target's hash, see :func:`target_hash`.
        detail: the call's kind and mode, why somebody left or was denied, an uploader's statement of consent.
    """

    at: float = field(default_factory=time.time)
    event: str
    terminal: str | None = None
    name: str | None = None
    token: str | None = None
    address: str | None = None
    room: str | None = None
    target: str | None = None
    detail: str | None = None


def entry_of(record: Record, address: str | None) -> AuditEntry:
    """What is kept of an event of signaling."""
    return AuditEntry(
        event=record.event,
        terminal=record.terminal,
        name=record.name,
        token=record.token,
        address=address,
        room=record.room,
        target=None if record.target is None else target_hash(record.target),
        detail=record.detail,
    )
