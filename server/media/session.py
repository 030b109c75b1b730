"""One media session: a peer connection from its offer to its end, with every wait bounded."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final, Literal

from server import metrics
from server.media.interfaces import Peer, PeerError, PeerState
from signaling.protocol import ErrorCode, IceCandidate

logger = logging.getLogger(__name__)

Channel = Literal["publish", "subscribe"]
#: Candidates that may wait for their description, or for being taken.
MAX_CANDIDATES: Final = 32


class End(StrEnum):
    """Why a session ended."""

    ASKED = "asked"  # the terminal or signaling closed it
    REPLACED = "replaced"  # the terminal made a newer one for the same purpose
    REFUSED = "refused"  # it was no longer allowed
    OFFER = "offer"  # the offer could not be answered
    TIMED_OUT = "timed_out"  # it did not connect in time
    LOST = "lost"  # it was connected and is not any more
    FAILED = "failed"  # something unforeseen happened
    STOPPED = "stopped"  # the worker stops


class Session:
    """Answers one offer, takes candidates in order, and ends when the connection does.

    Args:
        terminal: whose session it is.
        name: the session's id, unique for the terminal.
        channel: what it is for.
        subject: the terminal whose picture it shows.
        on_answer: takes the answer (SDP).
        on_connected: called once.
        on_error: told why the session could not go on.
        on_end: called once, when nothing of it is left but its closing connection.
    """

    def __init__(
        self,
        terminal: str,
        name: str,
        channel: Channel,
        subject: str,
        *,
        on_answer: Callable[[Session, str], None],
        on_connected: Callable[[Session], None],
        on_error: Callable[[Session, ErrorCode, str], None],
        on_end: Callable[[Session, End], None],
    ) -> None:
        self.terminal = terminal
        self.name = name
        self.channel: Channel = channel
        self.subject = subject
        self.connected = False
        self.ended: End | None = None
        self._on_answer = on_answer
        self._on_connected = on_connected
        self._on_error = on_error
        self._on_end = on_end
        self._began = time.monotonic()
        self._candidates: deque[IceCandidate] = deque()
        self._taken = 0
        self._wake = asyncio.Event()
        self._peer: Peer | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    def start(self, peer: Peer, offer: str, limit: float) -> None:
        """Begin: answer the offer and wait for the connection, ``limit`` seconds in all."""
        self._peer = peer
        metrics.SESSIONS.labels(self.channel).inc()
        self._task = asyncio.create_task(self._run(peer, offer, limit), name=f"session {self.name}")

    def candidate(self, candidate: IceCandidate) -> None:
        """Take a trickled candidate, in the order they come; too many are ignored."""
        if self.ended is None and self._taken < MAX_CANDIDATES and candidate.candidate:
            self._taken += 1
            self._candidates.append(candidate)
            self._wake.set()

    def state_changed(self, state: PeerState) -> None:
        """To be called by the peer connection."""
        if self.ended is not None:
            return
        if state == "connected" and not self.connected:
            self.connected = True
            metrics.SESSION_SETUP.observe(time.monotonic() - self._began)
            self._on_connected(self)
        elif state in {"failed", "closed"}:
            if not self.connected:
                self._fail("The media connection failed: no way was found between browser and media worker.")
            self.end(End.LOST)
        self._wake.set()

    def end(self, reason: End) -> None:
        """End now; the connection is closed in the background. Safe to call again."""
        if self.ended is not None:
            return
        self.ended = reason
        if self._task is not None:
            metrics.SESSIONS.labels(self.channel).dec()
            self._task.cancel()
        metrics.SESSION_ENDS.labels(self.channel, reason).inc()
        if self._peer is not None:
            self._closing = asyncio.create_task(self._close(self._peer), name=f"close {self.name}")
        self._on_end(self, reason)

    async def closed(self) -> None:
        """Wait until an ended session's connection is closed."""
        if self._closing is not None:
            await asyncio.shield(self._closing)

    def _fail(self, message: str) -> None:
        self._on_error(self, ErrorCode.MEDIA_FAILED, message)

    async def _run(self, peer: Peer, offer: str, limit: float) -> None:
        try:
            await self._negotiate(peer, offer, limit)
        except Exception:  # whatever it was: no session may be left that nobody looks after
            logger.exception("A media session failed")
            self._on_error(self, ErrorCode.INTERNAL, "The media session failed for an unknown reason.")
            self.end(End.FAILED)

    async def _negotiate(self, peer: Peer, offer: str, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                answer = await peer.answer(offer)
                self._on_answer(self, answer)
                while not self.connected:
                    await self._take_candidates(peer)
        except TimeoutError:
            self._fail(
                f"The media connection was not made within {limit:g} s: check that UDP, or a TURN server, "
                "can be reached."
            )
            self.end(End.TIMED_OUT)
            return
        except PeerError as error:
            self._fail(str(error))
            self.end(End.OFFER)
            return
        while True:  # better routes may still be trickled
            await self._take_candidates(peer)

    async def _take_candidates(self, peer: Peer) -> None:
        while self._candidates:
            await peer.add_candidate(self._candidates.popleft())
        self._wake.clear()
        if not self._candidates:
            await self._wake.wait()

    async def _close(self, peer: Peer) -> None:
        try:
            await peer.close()
        except Exception:
            logger.exception("A peer connection did not close cleanly")
