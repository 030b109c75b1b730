"""A bad network in user space: what a peer sends and receives is dropped, delayed and thereby reordered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from aioice.ice import Connection


class Impairment:
    """Between a peer's sockets and the world: all of ICE, DTLS, RTP and RTCP passes it, in both directions.

    Losses are independent of each other. Jitter delays each datagram by itself, so that datagrams overtake
    each other, as with ``tc netem delay`` without a queue that keeps the order: harder than most networks.

    Args:
        seed: of the generator that decides.
        loss: share of datagrams lost, each way.
        jitter_s: each datagram is delayed by 0 to this many seconds, each way.
    """

    def __init__(self, seed: int, loss: float = 0.0, jitter_s: float = 0.0) -> None:
        self.loss = loss
        self.jitter_s = jitter_s
        self.passed = 0
        self.dropped = 0
        self._random = random.Random(seed)

    def apply(self, ice: Connection) -> None:
        """Put it before the sockets of a connection that has gathered its candidates."""
        assert ice._protocols, "gather first"
        for protocol in ice._protocols:
            send, receive = protocol.transport.sendto, protocol.datagram_received
            protocol.transport = _Transport(protocol.transport, self._before(send))  # type: ignore[assignment]
            protocol.datagram_received = self._before(receive)  # type: ignore[method-assign]

    def _before(self, forward: Callable[..., None]) -> Callable[..., None]:
        def decide(data: bytes, address: Any = None) -> None:
            if self._random.random() < self.loss:
                self.dropped += 1
                return
            self.passed += 1
            if self.jitter_s:
                delay = self._random.uniform(0, self.jitter_s)
                asyncio.get_running_loop().call_later(delay, forward, data, address)
            else:
                forward(data, address)

        return decide


class _Transport:
    """A datagram transport with another way of sending."""

    def __init__(self, transport: asyncio.DatagramTransport, send: Callable[..., None]) -> None:
        self._transport = transport
        self.sendto = send

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
