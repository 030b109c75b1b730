"""Whether the service may be reached by others as it is set up: open to all, or for this machine alone."""

from __future__ import annotations

from server.errors import UserError
from server.settings import Settings
from signaling.admission import is_loopback


def is_local_only(settings: Settings) -> bool:
    """Whether the service is open, and therefore for this machine alone."""
    return not settings.join_key.get_secret_value() and not settings.open_access


def require_guard(settings: Settings) -> None:
    """See that a service which others can reach asks them for tokens.

    Raises:
        UserError: it would let anybody in, and nobody said that this is meant.
    """
    if not is_local_only(settings):
        return
    if not is_loopback(settings.host):
        reason = f"host: {settings.host or 'every address'} can be reached from other machines"
    elif settings.forwarded_header is not None:
        reason = "forwarded_header: a proxy brings people from other machines"
    else:
        return
    raise UserError(
        f"{reason}, and there is no join key: anybody could enter calls and upload faces. Give one as "
        "UNDERSTUDY_JOIN_KEY and let people in with tokens (`understudy token --new-key` makes a key, "
        "`understudy token ROOM` a token), or say that everybody is welcome: UNDERSTUDY_OPEN_ACCESS=true."
    )
