"""Places that requests hold while they last: some for all, fewer for each who asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from server.api_access import GRANT
from server.api_errors import ApiError
from server.api_limits import client_address
from signaling.admission import network_of


class NoSlot(Exception):
    """No place is free.

    Args:
        own: it is the requester who holds all that it may.
    """

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.own = own


class Slots:
    """Places for requests. Nobody keeps the others out by being slow: each has fewer than there are.

    Args:
        at_once: places in all.
        each: places of one requester.
    """

    def __init__(self, at_once: int, each: int) -> None:
        self._at_once = at_once
        self._each = each
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, who: str) -> Iterator[None]:
        """Hold one of the places.

        Raises:
            NoSlot: all are taken, or all that one requester may have.
        """
        if self._held.total() >= self._at_once:
            raise NoSlot(own=False)
        if self._held[who] >= self._each:
            raise NoSlot(own=True)
        self._held[who] += 1
        try:
            yield
        finally:
            self._held[who] -= 1
            if not self._held[who]:
                del self._held[who]


def requester(request: web.Request, forwarded_header: str | None) -> str:
    """Who sends a request: a person by the join token where one was asked for, else an address' network.

    Args:
        request: the request.
        forwarded_header: see :func:`server.api_limits.client_address`.
    """
    grant = request.get(GRANT)
    return network_of(client_address(request, forwarded_header)) if grant is None else grant.id


def own_are_taken(message: str) -> ApiError:
    """The refusal of who holds all that it may have already; others are served."""
    headers = {"Retry-After": "5", "Connection": "close"}
    return ApiError(429, "too_many_at_once", message, headers=headers)
