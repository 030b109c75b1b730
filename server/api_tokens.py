"""The operator's backend mints join tokens: POST /api/tokens with its API key (server.api_access)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.api_errors import ApiError
from server.audit.service import note
from signaling.grants import Role
from signaling.tokens import mint
from signaling.vocabulary import DisplayName, RoomName

DEFAULT_TTL_S: Final = 3600.0
LONGEST_TTL_S: Final = 7 * 24 * 3600.0


class TokenRequest(BaseModel):
    """What a token is to say; a guest's needs a room."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    room: RoomName | None = None
    name: DisplayName | None = None
    role: Role = "guest"
    ttl_s: Annotated[float, Field(gt=0, le=LONGEST_TTL_S)] = DEFAULT_TTL_S


def join_path(token: str, room: str | None) -> str:
    """Path of the page that enters with a token.

    It stands behind the ``#``, which browsers send to no server: no access log has it.
    """
    query = f"?room={quote(room)}" if room is not None else ""
    return f"/{query}#token={token}"


class TokensApi:
    """The handler.

    Args:
        join_key: signs the tokens.
    """

    def __init__(self, join_key: str) -> None:
        self._join_key = join_key

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Put the handler into an application."""
        router.add_post("/api/tokens", self.create)

    async def create(self, request: web.Request) -> web.Response:
        """POST /api/tokens"""
        if request.content_type != "application/json":
            raise ApiError(415, "unsupported_media_type", "Send JSON.")
        try:
            wanted = TokenRequest.model_validate_json(await request.read())
            token, grant = mint(
                self._join_key,
                room=wanted.room,
                name=wanted.name,
                role=wanted.role,
                ttl_s=wanted.ttl_s,
            )
        except ValidationError as error:
            raise ApiError(400, "bad_request", _first_fault(error)) from None
        note(request, "token.minted", detail=grant.role, grant=grant)
        expires = datetime.fromtimestamp(grant.expires_at, UTC).isoformat().replace("+00:00", "Z")
        body: dict[str, Any] = {
            "token": token,
            "id": grant.id,
            "path": join_path(token, grant.room),
            "expires_at": expires,
        }
        return web.json_response(body, status=201, headers={"Cache-Control": "no-store"})


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "request"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}."
