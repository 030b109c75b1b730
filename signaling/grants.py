"""What a verified join token allows, or why it was not taken: one of these is handed to the state machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from signaling.vocabulary import ErrorCode

#: A guest enters the room that its token names; a host enters any room and may make new ones.
Role = Literal["guest", "host"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified join token says.

    Attributes:
        id: of the token (its ``jti``); names the person for limits and the audit log.
        room: where a guest may go; None for a host that is bound to none.
        name: the display name to be shown under, whatever the terminal calls itself; None: its own choice.
        role: see :data:`Role`.
        expires_at: when no further room can be entered with it, seconds of the state machine's clock.
    """

    id: str
    room: str | None
    name: str | None
    role: Role
    expires_at: float

    def admits(self, room: str) -> bool:
        """Whether this room may be entered with it."""
        return self.role == "host" or self.room == room


@dataclass(frozen=True, slots=True)
class Denied:
    """Why nobody enters with what was shown: a code for programs, a sentence for people."""

    code: ErrorCode
    message: str


NO_TOKEN = Denied(ErrorCode.TOKEN_MISSING, "This service is by invitation: open the link that you were sent.")
#: None: the service is open to whoever reaches it.
Admission = Grant | Denied | None
