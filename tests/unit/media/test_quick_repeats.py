"""What connecting needs is sent again before its loss is noticed, and no longer than it is needed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aioice.ice import Connection, StunProtocol
from aioice.stun import Class, Message, Method
from aiortc import RTCConfiguration, RTCSessionDescription

from server.media.mends import quick_repeats
from server.media.mends.peer_connection import Media, MendedPeerConnection
from server.media.mends.picture_sender import encoder_executor
from server.media.mends.quick_repeats import REPEATED_AFTER_S, repeat_checks
from server.media.mends.vp8_encoder import bounds_for

ADDRESS = ("127.0.0.1", 9)


class Sent:
    """A datagram transport that counts what it is given."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def sendto(self, data: bytes, address: Any) -> None:
        self.datagrams.append(data)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_repeats, "REPEATED_AFTER_S", (0.001, 0.002, 0.003))


@pytest.fixture
async def protocol(soon: None) -> AsyncIterator[StunProtocol]:
    """A socket's protocol, mended, of a connection that has nobody to connect to."""
    connection = Connection(ice_controlling=True)
    protocol = StunProtocol(connection)
    protocol.transport = Sent()  # type: ignore[assignment]
    connection._protocols = [protocol]
    connection._local_candidates_end = True
    connection.remote_username, connection.remote_password = "user", "password"
    await connection.add_remote_candidate(None)  # so it ends at once
    repeat_checks(connection)
    with pytest.raises(ConnectionError):
        await connection.connect()
    yield protocol
    connection._protocols = []
    await connection.close()


def sent(protocol: StunProtocol) -> Sent:
    assert isinstance(protocol.transport, Sent)
    return protocol.transport


async def test_a_check_is_asked_again_until_it_is_answered(protocol: StunProtocol) -> None:
    request = Message(Method.BINDING, Class.REQUEST)
    asking = asyncio.create_task(protocol.request(request, ADDRESS))
    await asyncio.sleep(0.05)
    assert sent(protocol).datagrams == [bytes(request)] * 4, "before aioice itself asks again, after 0.5 s"
    answer = Message(Method.BINDING, Class.RESPONSE, transaction_id=request.transaction_id)
    protocol.datagram_received(bytes(answer), ADDRESS)
    assert bytes((await asking)[0]) == bytes(answer)


async def test_an_answered_check_and_an_answer_are_sent_once(protocol: StunProtocol) -> None:
    request = Message(Method.BINDING, Class.REQUEST)
    asking = asyncio.create_task(protocol.request(request, ADDRESS))
    await asyncio.sleep(0)
    answer = Message(Method.BINDING, Class.RESPONSE, transaction_id=request.transaction_id)
    protocol.datagram_received(bytes(answer), ADDRESS)
    await asking
    protocol.send_stun(answer, ADDRESS)
    await asyncio.sleep(0.05)
    assert sent(protocol).datagrams == [bytes(request), bytes(answer)]


async def test_what_is_given_up_is_not_asked_again(protocol: StunProtocol) -> None:
    """As all is that is under way when a connection is closed, before its sockets are."""
    asking = asyncio.create_task(protocol.request(Message(Method.BINDING, Class.REQUEST), ADDRESS))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.sleep(0.05)
    assert len(sent(protocol).datagrams) == 1


def losing_firsts(receive: Callable[..., None]) -> Callable[..., None]:
    """Only what is sent three times is heard."""
    came: Counter[bytes] = Counter()

    def decide(data: bytes, address: Any) -> None:
        came[data] += 1
        if came[data] > 2:
            receive(data, address)

    return decide


@pytest.fixture
async def two() -> AsyncIterator[list[MendedPeerConnection]]:
    threads: ThreadPoolExecutor = encoder_executor()
    media = Media(lambda picture: None, lambda payload, timestamp: None, bounds_for(64), threads)
    both = [MendedPeerConnection(RTCConfiguration(iceServers=[]), media) for _ in range(2)]
    yield both
    await asyncio.gather(*(connection.close() for connection in both))
    threads.shutdown()


async def test_a_connection_is_made_where_only_the_third_copy_arrives(
    two: list[MendedPeerConnection],
) -> None:
    """OpenSSL numbers anew what it sends again: without true copies nothing would ever arrive."""
    one, other = two
    one.addTransceiver("audio", "recvonly")
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(one.localDescription)
    await other.setLocalDescription(await other.createAnswer())
    for connection in two:
        ice = connection.getTransceivers()[0].receiver.transport.transport.iceGatherer._connection
        for protocol in ice._protocols:
            receive = losing_firsts(protocol.datagram_received)
            protocol.datagram_received = receive  # type: ignore[method-assign]
    answer = RTCSessionDescription(other.localDescription.sdp, "answer")
    await one.setRemoteDescription(answer)
    async with asyncio.timeout(20):
        while {one.connectionState, other.connectionState} != {"connected"}:
            await asyncio.sleep(0.02)


def test_copies_come_before_the_libraries_look_for_an_answer() -> None:
    assert max(REPEATED_AFTER_S) < 0.5


async def test_the_private_parts_exist() -> None:
    connection = Connection(ice_controlling=True)
    assert connection._protocols == []
    assert StunProtocol(connection).transactions == {}
