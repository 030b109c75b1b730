"""Gather local candidates in bounded time, from given servers only, and on a machine without a network too.

aiortc waits for all of gathering before it answers, up to 5 s when a STUN server cannot be reached; without a
list of servers it asks a public one; and it offers no candidate at all where loopback is the only interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aioice import Candidate
from aioice.ice import Connection
from aiortc import RTCIceServer
from aiortc.rtcicetransport import parse_stun_turn_uri

from signaling.protocol import IceServer

GATHERING_LIMIT_S: Final = 1.0
LOOPBACK: Final = "127.0.0.1"


def bound_gathering(connection: Connection, limit: float = GATHERING_LIMIT_S) -> None:
    """Make an ICE connection give STUN and TURN ``limit`` seconds, and use loopback if need be."""
    gather = connection.get_component_candidates

    async def bounded(component: int, addresses: list[str]) -> list[Candidate]:
        # aioice's limit is a number of whole seconds by annotation only.
        return await gather(component, addresses or [LOOPBACK], limit)  # type: ignore[arg-type]

    connection.get_component_candidates = bounded  # type: ignore[method-assign, assignment]


def ice_servers(servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """The servers as aiortc takes them: always a list, without URLs that aiortc would raise on."""
    usable = []
    for server in servers:
        urls = [url for url in server.urls if _is_usable(url)]
        if urls:
            usable.append(RTCIceServer(urls=urls, username=server.username, credential=server.credential))
    return usable


def _is_usable(url: str) -> bool:
    try:
        parse_stun_turn_uri(url)
    except ValueError:
        return False
    return True
