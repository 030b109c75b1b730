"""Who may connect, and how fast anyone may speak: origins, hosts, secrets, addresses, token buckets."""

from __future__ import annotations

import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from multidict import MultiMapping  # what aiohttp gives headers in

#: What proxies write the client's address into.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class TokenBucket:
    """Lets ``burst`` events pass at once and ``rate`` a second in the long run.

    Args:
        rate: tokens a second.
        burst: most tokens kept.
        now: the present (seconds, monotonic).
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._updated = now

    def take(self, now: float) -> bool:
        """Whether one more event may pass now; if so, it counts."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def is_full(self, now: float) -> bool:
        """Whether nothing is left of past events."""
        self._refill(now)
        return self._tokens >= self._burst

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now


class AddressLimit:
    """Bounds the connections of each address: how many at once, and how fast new ones come.

    Args:
        at_once: open connections of one address.
        rate: new connections a second of one address, in the long run.
        burst: new connections of one address at once.
    """

    def __init__(self, at_once: int, rate: float, burst: int) -> None:
        self._at_once = at_once
        self._rate = rate
        self._burst = burst
        self._open: dict[str, int] = {}
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def enter(self, address: str, now: float) -> bool:
        """Whether one more connection of the address may open; if so, it counts until :meth:`leave`."""
        bucket = self._buckets.setdefault(address, TokenBucket(self._rate, self._burst, now))
        self._buckets.move_to_end(address)
        self._forget_idle(now)
        if self._open.get(address, 0) >= self._at_once or not bucket.take(now):
            return False
        self._open[address] = self._open.get(address, 0) + 1
        return True

    def leave(self, address: str) -> None:
        """A connection of the address closed."""
        left = self._open[address] - 1
        if left:
            self._open[address] = left
        else:
            del self._open[address]

    def _forget_idle(self, now: float) -> None:
        # The first is the longest unused; a bucket that is full again says nothing any more.
        while len(self._buckets) > 1:
            address = next(iter(self._buckets))
            if not self._buckets[address].is_full(now):
                return
            del self._buckets[address]


def origin_allowed(origin: str | None, host: str, allowed: Sequence[str]) -> bool:
    """Whether a page of ``origin`` may open a WebSocket here.

    Browsers always name the origin, so a page of another site cannot speak with a visitor's rights or
    from a visitor's address. Programs name none and are let through: they could name any.

    Args:
        origin: the Origin header, if there is one.
        host: the Host header.
        allowed: further origins; ``*`` for any.
    """
    if origin is None or "*" in allowed:
        return True
    wanted = origin.rstrip("/").lower()
    if wanted in {entry.rstrip("/").lower() for entry in allowed}:
        return True
    try:
        parts = urlsplit(wanted)
        # The scheme is left out of the comparison: a proxy in front may have taken the TLS off.
        own = urlsplit(f"//{host.lower()}")
        default = _DEFAULT_PORTS.get(parts.scheme)
        return (
            parts.hostname is not None
            and default is not None
            and parts.hostname == own.hostname
            and (parts.port or default) == (own.port or default)
        )
    except ValueError:  # no URL at all, or an impossible port
        return False


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def is_own_host(host: str) -> bool:
    """Whether a Host header names this machine itself.

    A page of elsewhere whose name was made to point here (DNS rebinding) has the same Origin as Host, but
    not one of these.
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def is_local_request(remote: str | None, headers: Mapping[str, str]) -> bool:
    """Whether a program on this machine asks, and not through a proxy."""
    return remote is not None and is_loopback(remote) and not any(name in headers for name in _FORWARDED)


def client_address(remote: str | None, headers: MultiMapping[str], forwarded_header: str | None) -> str:
    """The address that a request comes from, as the operator's own proxy says if there is one.

    Args:
        remote: the other end of the connection.
        headers: of the request.
        forwarded_header: behind a reverse proxy of one's own, the header it appends the address to that
            it saw: to the last line of that name or, as HAProxy does, in a line of its own. Only the last
            entry is the proxy's; those before it the client may have written.
    """
    if forwarded_header:
        forwarded = ",".join(headers.getall(forwarded_header, []))
        hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
        if hops:
            return hops[-1]
    return remote or "unknown"


def network_of(address: str) -> str:
    """What limits count: a single address of IPv4; of IPv6 its /64, of which one household has all.

    What is no address (a socket's path, ``unknown``) stands for itself.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token of an ``Authorization: Bearer`` header (RFC 6750)."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def same_secret(ours: str, theirs: str | None) -> bool:
    """Whether a secret is ours, in a time that does not tell how much of it is right; never if empty."""
    if not ours or theirs is None:
        return False
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "surrogatepass"))


def may_read_metrics(secret: str, remote: str | None, headers: Mapping[str, str]) -> bool:
    """Who shows the secret; where none is set, only this machine itself."""
    if secret:
        return same_secret(secret, bearer(headers))
    return is_local_request(remote, headers)
