"""Short-lived TURN credentials, each bound to one terminal (the "TURN REST API" scheme of coturn).

The user name is ``<expiry>:<terminal>`` and the password ``base64(HMAC-SHA1(secret, user name))``
(draft-uberti-behave-turn-rest-00, section 2.2): the relay checks it with the shared secret alone
(coturn: ``use-auth-secret``, ``static-auth-secret``) and needs no list of users.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from signaling.vocabulary import IceServer


class TurnCredentials:
    """Makes the ICE servers of each terminal.

    Args:
        servers: given to everybody as they are (STUN, or TURN with credentials of its own).
        urls: of the TURN servers that share ``secret``; none: no credentials are made.
        secret: shared with them.
        ttl_s: how long credentials are good for, seconds.
    """

    def __init__(
        self,
        servers: Sequence[IceServer] = (),
        *,
        urls: Sequence[str] = (),
        secret: str = "",
        ttl_s: float = 3600.0,
    ) -> None:
        if urls and not secret:
            raise ValueError("TURN servers need the secret that they share with signaling")
        self.servers = list(servers)
        self._urls = list(urls)
        self._secret = secret.encode()
        self.ttl_s = ttl_s

    @property
    def expire(self) -> bool:
        """Whether what :meth:`ice_servers` gives is good for a time only."""
        return bool(self._urls)

    def ice_servers(self, terminal: str, now: float) -> list[IceServer]:
        """All servers for one terminal.

        Args:
            terminal: its id.
            now: seconds since the epoch.
        """
        if not self._urls:
            return self.servers
        username = f"{int(now + self.ttl_s)}:{terminal}"
        digest = hmac.new(self._secret, username.encode(), hashlib.sha1).digest()
        credential = base64.b64encode(digest).decode()
        return [*self.servers, IceServer(urls=self._urls, username=username, credential=credential)]
