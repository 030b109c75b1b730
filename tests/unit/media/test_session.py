"""A session waits for nothing without a limit and ends once, whatever its peer connection does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from server.media.interfaces import PeerError
from server.media.session import MAX_CANDIDATES, End, Session
from signaling.protocol import ErrorCode, IceCandidate


@dataclass
class FakePeer:
    answering: float = 0.0
    error: Exception | None = None
    closing: Exception | None = None
    candidates: list[str] = field(default_factory=list)
    closed: int = 0

    async def answer(self, offer: str) -> str:
        await asyncio.sleep(self.answering)
        if self.error:
            raise self.error
        return f"answer to {offer}"

    async def add_candidate(self, candidate: IceCandidate) -> None:
        await asyncio.sleep(0)
        self.candidates.append(candidate.candidate)

    async def close(self) -> None:
        self.closed += 1
        if self.closing:
            raise self.closing


class Log:
    def __init__(self) -> None:
        self.events: list[object] = []
        self.session = Session(
            "alice",
            "s1",
            "publish",
            "alice",
            on_answer=lambda session, sdp: self.events.append(sdp),
            on_connected=lambda session: self.events.append("connected"),
            on_error=lambda session, code, sentence: self.events.append(code),
            on_end=lambda session, reason: self.events.append(reason),
        )


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_offer_candidates_connection_and_end() -> None:
    log, peer = Log(), FakePeer()
    log.session.candidate(IceCandidate(candidate="early"))
    log.session.start(peer, "offer", 5)
    await settle()
    log.session.candidate(IceCandidate(candidate="late"))
    await settle()
    log.session.state_changed("connecting")
    log.session.state_changed("connected")
    log.session.candidate(IceCandidate(candidate="later"))
    await settle()
    assert peer.candidates == ["early", "late", "later"]
    log.session.state_changed("closed")
    log.session.end(End.ASKED)
    await log.session.closed()
    assert log.events == ["answer to offer", "connected", End.LOST]
    assert peer.closed == 1


async def test_no_connection_in_time() -> None:
    log, peer = Log(), FakePeer()
    log.session.start(peer, "offer", 0.05)
    await asyncio.sleep(0.1)
    assert log.events == ["answer to offer", ErrorCode.MEDIA_FAILED, End.TIMED_OUT]
    assert peer.closed == 1


async def test_no_answer_in_time() -> None:
    log, peer = Log(), FakePeer(answering=60)
    log.session.start(peer, "offer", 0.05)
    await asyncio.sleep(0.1)
    assert log.events == [ErrorCode.MEDIA_FAILED, End.TIMED_OUT]


async def test_an_offer_that_cannot_be_answered() -> None:
    log, peer = Log(), FakePeer(error=PeerError("no"))
    log.session.start(peer, "offer", 5)
    await settle()
    assert log.events == [ErrorCode.MEDIA_FAILED, End.OFFER]
    assert peer.closed == 1


async def test_what_nobody_thought_of_ends_it_too(caplog: pytest.LogCaptureFixture) -> None:
    log, peer = Log(), FakePeer(error=KeyError("surprise"))
    log.session.start(peer, "offer", 5)
    await settle()
    assert log.events == [ErrorCode.INTERNAL, End.FAILED]
    assert peer.closed == 1
    assert "surprise" in caplog.text


async def test_a_connection_that_fails_while_it_is_made() -> None:
    log, peer = Log(), FakePeer()
    log.session.start(peer, "offer", 5)
    await settle()
    log.session.state_changed("failed")
    log.session.state_changed("closed")
    assert log.events == ["answer to offer", ErrorCode.MEDIA_FAILED, End.LOST]


async def test_the_end_while_answering() -> None:
    log, peer = Log(), FakePeer(answering=60)
    log.session.start(peer, "offer", 5)
    await settle()
    log.session.end(End.ASKED)
    log.session.state_changed("connected")
    await log.session.closed()
    assert log.events == [End.ASKED]
    assert peer.closed == 1


async def test_a_peer_that_does_not_close_cleanly_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    log, peer = Log(), FakePeer(closing=RuntimeError("stuck"))
    log.session.start(peer, "offer", 5)
    await settle()
    log.session.end(End.ASKED)
    await log.session.closed()
    assert "did not close cleanly" in caplog.text


async def test_candidates_are_bounded() -> None:
    log, peer = Log(), FakePeer()
    log.session.start(peer, "offer", 5)
    for i in range(1000):
        log.session.candidate(IceCandidate(candidate=str(i)))
        await asyncio.sleep(0)
    assert len(peer.candidates) == MAX_CANDIDATES
    log.session.end(End.ASKED)
    await log.session.closed()
