"""Who asks how often, and who does not listen: a token bucket for each address, a time limit for reading."""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp import web

from signaling import admission

_ADDRESSES_KEPT: Final = 10_000
#: What was sent must be taken, by a client that reads or by its network, within this long.
UNREAD_LIMIT_S: Final = 30.0


def client_address(request: web.Request, forwarded_header: str | None = None) -> str:
    """The address that a request comes from.

    Args:
        request: the request.
        forwarded_header: see :func:`signaling.admission.client_address`.
    """
    return admission.client_address(request.remote, request.headers, forwarded_header)


class RateLimiter:
    """A token bucket for each address.

    Args:
        burst: how many at once, and the most that is saved up.
        per_second: how fast the bucket fills again.
        clock: monotonic seconds.
    """

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> float:
        """Take one token of the address' network: 0 if there was one, else the seconds until then."""
        now = self._clock()
        address = admission.network_of(address)
        tokens, then = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._buckets[address] = (tokens - 1 if tokens >= 1 else tokens, now)
        while len(self._buckets) > _ADDRESSES_KEPT:
            self._buckets.popitem(last=False)  # the one not heard of for longest
        return wait


async def end_unread(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler (``on_response_prepare``): cuts a connection whose client takes nothing any more.

    Without it a client that asks for something large and does not read, or a WebSocket client that has
    stopped to, would hold its connection and what waits for it for as long as it likes. The kernel does the
    watching (RFC 5482; tcp(7), ``TCP_USER_TIMEOUT``: also with a window of zero), where it can.
    """
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
    if connection is not None and option is not None and connection.family != socket.AF_UNIX:
        with suppress(OSError):  # closed already
            connection.setsockopt(socket.IPPROTO_TCP, option, int(1000 * UNREAD_LIMIT_S))
