"""Who asks how often: the address of a request and a token bucket for each address."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from aiohttp import web

_ADDRESSES_KEPT: Final = 10_000


def client_address(request: web.Request, forwarded_header: str | None = None) -> str:
    """The address that a request comes from.

    Args:
        request: the request.
        forwarded_header: behind a reverse proxy of one's own, the header it appends the address to that
            it saw. Only the last entry is the proxy's; those before it the client may have written.
    """
    if forwarded_header:
        forwarded = ",".join(request.headers.getall(forwarded_header, []))
        hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
        if hops:
            return hops[-1]
    return request.remote or "unknown"


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
        """Take one token: 0 if there was one, else the seconds until there will be."""
        now = self._clock()
        tokens, then = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._buckets[address] = (tokens - 1 if tokens >= 1 else tokens, now)
        while len(self._buckets) > _ADDRESSES_KEPT:
            self._buckets.popitem(last=False)  # the one not heard of for longest
        return wait
