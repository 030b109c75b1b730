"""Join tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256 under the operator's join key.

Claims: ``aud`` (always :data:`AUDIENCE`), ``exp``, ``iat``, ``jti``, ``role`` and, where they apply, ``room``
and ``name``. An operator's backend may sign its own with any JWT library; docs/access.md has an example.
"""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

import jwt
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from signaling.grants import Denied, Grant, Role
from signaling.vocabulary import DisplayName, ErrorCode, Identifier, RoomName

AUDIENCE: Final = "understudy:join"
ALGORITHM: Final = "HS256"
#: RFC 7518, section 3.2: a key no shorter than the hash.
MIN_KEY_BYTES: Final = 32
MAX_TTL_S: Final = 366 * 24 * 3600.0
#: How far the clocks of who mints and who verifies may be apart, seconds.
LEEWAY_S: Final = 10.0

_REQUIRED: Final = ("aud", "exp", "jti", "role")
_REFUSED: Final = Denied(ErrorCode.TOKEN_REFUSED, "This invitation is not valid here.")
_EXPIRED: Final = Denied(ErrorCode.TOKEN_EXPIRED, "This invitation has expired; ask for a new one.")


class TokenDenied(Exception):
    """A token that nobody enters with.

    Attributes:
        denied: why, as the terminal is told.
    """

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.message)
        self.denied = denied


class TokenClaims(BaseModel):
    """The claims that say who may go where. A guest's token names its room.

    Raises:
        ValidationError: a name or room that the protocol would not take, or a guest without a room.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    jti: Identifier
    role: Role = "guest"
    room: RoomName | None = None
    name: DisplayName | None = None

    @model_validator(mode="after")
    def _guest_has_a_room(self) -> TokenClaims:
        if self.role == "guest" and self.room is None:
            raise ValueError("a guest's token names the room")
        return self


def mint(
    key: str,
    *,
    room: str | None,
    name: str | None = None,
    role: Role = "guest",
    ttl_s: float,
    now: float | None = None,
) -> tuple[str, Grant]:
    """Sign a token.

    Args:
        key: the join key, at least :data:`MIN_KEY_BYTES` bytes.
        room, name, role: see :class:`~signaling.grants.Grant`.
        ttl_s: how long rooms can be entered with it, seconds.
        now: seconds since the epoch; by default the present.

    Returns:
        The token and what it says; ``expires_at`` in seconds since the epoch.

    Raises:
        ValueError: the key is too short, a claim or the lifetime is out of range.
    """
    if len(key.encode()) < MIN_KEY_BYTES:
        raise ValueError(f"the join key must have at least {MIN_KEY_BYTES} bytes")
    if not 0 < ttl_s <= MAX_TTL_S:
        raise ValueError(f"a token lives more than 0 and at most {MAX_TTL_S:.0f} seconds")
    now = time.time() if now is None else now
    said = TokenClaims(jti=secrets.token_urlsafe(12), role=role, room=room, name=name)
    claims: dict[str, Any] = said.model_dump(exclude_none=True)
    expires_at = int(now + ttl_s)
    claims |= {"aud": AUDIENCE, "iat": int(now), "exp": expires_at}
    token = jwt.encode(claims, key, algorithm=ALGORITHM)
    return token, Grant(said.jti, said.room, said.name, said.role, float(expires_at))


def verify(key: str, token: str) -> Grant:
    """What a token says; ``expires_at`` in seconds since the epoch.

    Raises:
        TokenDenied: not signed with this key, for something else, expired, or its claims make no sense.
    """
    try:
        # One algorithm only: the token's own header never chooses how it is checked.
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            leeway=LEEWAY_S,
            options={"require": list(_REQUIRED)},
        )
        said = TokenClaims.model_validate(claims)
        expires_at = float(claims["exp"])
    except jwt.ExpiredSignatureError:
        raise TokenDenied(_EXPIRED) from None
    except (jwt.InvalidTokenError, ValidationError, ValueError, OverflowError, RecursionError):
        raise TokenDenied(_REFUSED) from None
    return Grant(said.jti, said.room, said.name, said.role, expires_at)
