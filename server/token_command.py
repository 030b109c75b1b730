"""``understudy token``: a join token, or the link that carries it."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import ValidationError

from server.api_tokens import join_path
from server.errors import UserError
from signaling.tokens import mint


def make_token(
    key: str, *, room: str | None, name: str | None, is_host: bool, hours: float, url: str | None
) -> str:
    """Mint a token.

    Args:
        key: the join key.
        room, name: what it says, where given.
        is_host: for any room.
        hours: how long it is good for.
        url: address of the service, to make a link of it.

    Raises:
        UserError: a room or name that the protocol would not take, a guest without a room, or a URL that no
            link can be made of.
    """
    address = None if url is None else _address(url)
    try:
        token, _ = mint(key, room=room, name=name, role="host" if is_host else "guest", ttl_s=hours * 3600)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        if not details["loc"]:
            raise UserError(
                "Name the room: `understudy token ROOM`; only a --host may go anywhere."
            ) from None
        raise UserError(f"{details['loc'][0]}: {details['msg']}.") from None
    return token if address is None else address + join_path(token, room)


def _address(url: str) -> str:
    """The address of a page, as a link goes on from it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets that do not close, a port that is no number
        parts, port = urlsplit(""), None
    # room and token come behind a ? and a # of the link's own
    plain = not any(letter.isspace() or letter in "?#" for letter in url)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise UserError(f"--url {url}: give the address of the page, as https://meet.example.org.")
    return url.rstrip("/")
