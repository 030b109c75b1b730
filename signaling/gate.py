"""The edge's rules: which pages may connect, whose join token is good, how many come at once."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Protocol

from signaling.admission import AddressLimit, client_address, is_own_host, network_of, origin_allowed
from signaling.config import SignalingConfig
from signaling.grants import NO_TOKEN, Admission, Grant
from signaling.protocol import Hello
from signaling.tokens import TokenDenied, verify

if TYPE_CHECKING:
    from multidict import MultiMapping


class Bearer(Protocol):
    """A connection; ``person`` is the id of the join token that it was let in with."""

    person: str | None


class Gate:
    """Decides before the state machine hears of anything.

    Args:
        config: who may connect.
    """

    def __init__(self, config: SignalingConfig) -> None:
        self._config = config
        self._addresses = AddressLimit(
            config.connections_per_address, config.connects_per_second, config.connect_burst
        )
        # The bearers of one token may come as fast as those of one address.
        self._persons = AddressLimit(
            config.connections_per_token, config.connects_per_second, config.connect_burst
        )

    def page_refusal(self, origin: str | None, host: str) -> tuple[str, str] | None:
        """Why a page may not open a WebSocket here, as a word and a sentence; None if it may."""
        config = self._config
        if config.check_origin and not origin_allowed(origin, host, config.allowed_origins):
            return "origin", "Pages of other sites may not connect here."
        if config.own_host_only and not is_own_host(host):
            return "host", "Without join tokens this serves localhost alone."
        return None

    def address(self, remote: str | None, headers: MultiMapping[str]) -> str:
        """Where a request comes from, as the operator's own proxy says if there is one."""
        return client_address(remote, headers, self._config.forwarded_header)

    def enter(self, address: str, now: float) -> bool:
        """Whether one more connection of an address' network may open; it counts until :meth:`leave`."""
        return self._addresses.enter(network_of(address), now)

    def leave(self, address: str) -> None:
        self._addresses.leave(network_of(address))

    def admission(self, hello: Hello, now: float) -> Admission:
        """What a hello's join token is; None where none is needed."""
        if not self._config.join_key:
            return None
        if hello.token is None:
            return NO_TOKEN
        try:
            grant = verify(self._config.join_key, hello.token)
        except TokenDenied as error:
            return error.denied
        return dataclasses.replace(grant, expires_at=now + grant.expires_at - time.time())

    def take_person(self, connection: Bearer, grant: Grant, now: float) -> bool:
        """Whether the token may have this connection too; if so, it counts until :meth:`leave_person`."""
        if connection.person is not None:  # a second hello, which is refused anyway
            return True
        if not self._persons.enter(grant.id, now):
            return False
        connection.person = grant.id
        return True

    def leave_person(self, connection: Bearer) -> None:
        """The connection ended."""
        if connection.person is not None:
            self._persons.leave(connection.person)
