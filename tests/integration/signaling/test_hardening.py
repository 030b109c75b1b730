"""Nothing that one connection sends, or does not read, harms another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError
from prometheus_client.exposition import generate_latest

from signaling.connection import HARD_LIMIT_BYTES
from signaling.protocol import MAX_MESSAGE_BYTES
from tests.integration.signaling.conftest import Start
from tests.integration.signaling.harness import SECRET, House, Terminal


def metric(house: House, line: str) -> float:
    text = generate_latest(house.signaling.registry).decode()
    return next((float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line)), 0.0)


async def test_too_fast_is_refused_and_abuse_ends_the_connection(start: Start) -> None:
    house = await start(messages_per_second=50, message_burst=100, abuse_limit=300)
    ada, bob = await house.terminal("Ada", "R"), await house.terminal("Bob", "R")
    for _ in range(150):
        await ada.send("ping")
    await ada.next("error", code="rate_limited")
    assert len(ada.all("pong")) >= 95
    await asyncio.sleep(0.2)
    assert (await ada.answer("ping")).type == "pong", "slow again, it is served again"
    with contextlib.suppress(ConnectionError):
        for _ in range(20_000):
            await ada.send("ping")
            await asyncio.sleep(0)
    assert await ada.closed() == 1008
    assert (await bob.answer("ping")).type == "pong"


async def test_a_flood_of_websocket_pings_counts_too(start: Start) -> None:
    house = await start(abuse_limit=300)
    ada = await house.terminal("Ada")
    with contextlib.suppress(ConnectionError):
        for _ in range(20_000):
            await ada.socket.ping()
            await asyncio.sleep(0)
    assert await ada.closed() == 1008


STRANGERS = {
    "load": '{"type":"worker.load","drivers":0,"load":0}',
    "nonsense": "{",
    "wrong": '{"type":"worker.hello","worker":"w","secret":"a guess","capacity":1}',
}


@pytest.mark.parametrize(
    ("said", "code"), [("load", "hello_expected"), ("nonsense", "malformed"), ("wrong", "unauthorised")]
)
async def test_who_is_no_worker_is_turned_away_before_anything_is_done(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, said: str, code: str
) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(house.signaling.switchboard, "worker_receive", lambda *event: taken.append(event))
    ada = await house.terminal("Ada")
    for _ in range(20):
        stranger = await house.stranger()
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                await stranger.socket.send_str(STRANGERS[said])
        assert await stranger.closed() == 1008
        assert [m.code.value for m in stranger.log] == [code]
    assert (await ada.answer("ping")).type == "pong"
    assert not taken
    assert metric(house, f'understudy_signaling_worker_refusals_total{{code="{code}"}}') == 20
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 <= len(lines) <= 6, "an operator finds it, and nobody fills the log with it"
    assert code in lines[0].getMessage()


async def test_a_worker_says_hello_once(house: House) -> None:
    worker = await house.worker()
    await worker.next("worker.welcome")
    await worker.send("worker.hello", worker="w1", secret=SECRET, capacity=8, instance="i1")
    assert (await worker.next("worker.refused")).code == "out_of_order"
    await worker.socket.send_str("{")
    assert (await worker.next("worker.refused")).code == "malformed"
    assert house.signaling.workers == 1, "a welcome worker is refused single messages, and stays"


async def test_too_large_is_refused_and_the_connection_goes_on(house: House) -> None:
    ada = await house.terminal("Ada")
    await ada.socket.send_str('{"type":"ping","id":"' + "x" * MAX_MESSAGE_BYTES + '"}')
    assert (await ada.next("error")).code == "too_large"
    assert (await ada.answer("ping")).type == "pong"


async def test_far_too_large_is_refused_and_the_connection_closed(house: House) -> None:
    ada, bob = await house.call("Ada", "Bob")
    await ada.socket.send_str("x" * (HARD_LIMIT_BYTES + 1))
    assert (await ada.next("error")).code == "too_large"
    assert await ada.closed() == 1009
    await bob.until(lambda m: m.type == "call.state" and "away" in [x.presence for x in m.members])


async def test_the_largest_offer_arrives(house: House) -> None:
    worker = await house.worker()
    ada = await house.terminal("Ada")
    sdp = "a=candidate\r\n" * ((48 * 1024) // 13)
    await ada.send("media.signal", channel="publish", session="p1", description={"type": "offer", "sdp": sdp})
    assert (await worker.next("session.signal")).description.sdp == sdp


async def test_binary_and_text_that_is_none(house: House) -> None:
    ada = await house.terminal("Ada")
    await ada.socket.send_bytes(b'{"type":"ping"}')
    assert (await ada.next("error")).code == "malformed"
    await ada.socket.send_str("")
    assert (await ada.next("error")).code == "malformed"
    assert (await ada.answer("ping")).type == "pong"


def fuzz(rng: random.Random) -> str:
    """A message that is nearly right, or not at all."""
    whole: dict[str, Any] = {
        "type": rng.choice(["hello", "room.join", "relay.request", "relay.accept", "media.signal", "bye "]),
        "name": "x",
        "room": "R",
        "session": "s",
        "request": "r",
        "channel": rng.choice(["publish", "subscribe", "direct", 3]),
    }
    fields = rng.sample(sorted(whole), rng.randrange(len(whole)))
    text = json.dumps({key: whole[key] for key in fields})
    match rng.randrange(4):
        case 0:
            return text
        case 1:
            cut = rng.randrange(len(text) + 1)
            return text[:cut] + rng.choice(["", "\x00", "}", "\u202e", "[" * 500]) + text[cut:]
        case 2:
            return text[: rng.randrange(len(text) + 1)]
        case _:
            return "".join(chr(rng.randrange(1, 0xD7FF)) for _ in range(rng.randrange(80)))


async def test_a_thousand_malformed_messages_while_others_call(start: Start) -> None:
    house = await start(messages_per_second=100_000, message_burst=100_000)
    ada, bob = await house.call("Ada", "Bob")
    joker = await house.terminal("Joker", "R")
    rng = random.Random(7)

    async def flood() -> None:
        for _ in range(1000):
            await joker.socket.send_str(fuzz(rng))

    async def talk() -> None:
        for number in range(50):
            await ada.send("text.send", text=str(number))
            await bob.next("text", text=str(number))

    await asyncio.gather(flood(), talk())
    assert (await joker.answer("ping")).type == "pong", "refused a thousand times, and still welcome"
    refusals = [m for m in joker.log if m.type == "error"]
    assert len(refusals) > 900
    assert {m.code.value for m in refusals} <= {
        "malformed",
        "out_of_order",
        "peer_unknown",
        "request_unknown",
        "worker_unavailable",
    }
    assert not ada.all("error")
    assert not ada.all("call.ended")
    assert not bob.all("call.ended")


async def test_who_does_not_read_is_cut_and_nobody_waits(start: Start) -> None:
    house = await start(
        messages_per_second=100_000, message_burst=100_000, queue_messages=50, silent_after_s=60
    )
    ada, bob = await house.call("Ada", "Bob")
    # A third one, over a bare socket with small buffers, enters the call and then reads nothing any more.
    server = house.client.server
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, (server.host, server.port))
    deaf = BareTerminal(raw)
    await deaf.open(f"{server.host}:{server.port}")
    await deaf.send(type="hello", name="Deaf")
    await deaf.send(type="room.join", room="R")
    await deaf.send(type="relay.request")
    incoming = await ada.next("relay.incoming")
    await ada.answer("relay.accept", request=incoming.request)
    cut = asyncio.create_task(
        ada.until(lambda m: m.type == "call.state" and "away" in [x.presence for x in m.members])
    )
    sent = 0
    while not cut.done():
        await ada.send("text.send", text="x" * 4000)
        sent += 1
        await bob.next("text")
        assert sent < 20_000, "the deaf one's queue grows without end"
    await cut
    assert metric(house, 'understudy_signaling_connections_total{end="overflow"}') == 1
    raw.close()


class BareTerminal:
    """A WebSocket client that only writes."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw

    async def open(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        request = (
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        await loop.sock_sendall(self._raw, request.encode())
        await loop.sock_recv(self._raw, 1024)

    async def send(self, **message: Any) -> None:
        data = json.dumps(message).encode()
        assert len(data) < 126
        frame = bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data  # masked with zeros
        await asyncio.get_running_loop().sock_sendall(self._raw, frame)


async def test_hello_must_come_in_time(start: Start) -> None:
    house = await start(hello_timeout_s=0.2)
    mute = await house.connect()
    assert (await mute.next("error")).code == "hello_expected"
    assert await mute.closed() == 1008
    talker = await house.connect()
    await talker.answer("ping")  # refused, and no hello
    assert await talker.closed() == 1008
    ada = await house.terminal("Ada")
    await asyncio.sleep(0.4)
    assert (await ada.answer("ping")).type == "pong"


async def test_pages_of_other_sites_are_turned_away(start: Start) -> None:
    house = await start(allowed_origins=("https://friend.example",))
    own = f"http://{house.client.host}:{house.client.port}"
    for origin in (own, "https://friend.example"):
        await (await house.connect(headers={"Origin": origin})).hello("Ada")
    for path, origin in (("/ws", "https://evil.example"), ("/worker", own)):
        with pytest.raises(WSServerHandshakeError) as refused:
            await house.client.ws_connect(path, headers={"Origin": origin})
        assert refused.value.status == 403
    open_house = await start(check_origin=False)
    await (await open_house.connect(headers={"Origin": "https://evil.example"})).hello("Ada")


async def test_connections_of_one_address_are_limited(start: Start) -> None:
    house = await start(connections_per_address=2)
    ada = await house.terminal("Ada")
    await house.terminal("Bob")
    with pytest.raises(WSServerHandshakeError) as refused:
        await house.connect()
    assert refused.value.status == 429
    ada.cut()
    async with asyncio.timeout(5):
        while True:
            try:
                await house.connect()
                break
            except WSServerHandshakeError:
                await asyncio.sleep(0.02)


async def test_behind_a_proxy_the_client_address_counts(start: Start) -> None:
    house = await start(connections_per_address=1, forwarded_header="X-Forwarded-For")
    await house.connect(headers={"X-Forwarded-For": "spoofed, 10.0.0.1"})
    await house.connect(headers={"X-Forwarded-For": "spoofed, 10.0.0.2"})
    with pytest.raises(WSServerHandshakeError):
        await house.connect(headers={"X-Forwarded-For": "other, 10.0.0.1"})
    # HAProxy appends a line of its own to those that the client may have written.
    lines = [("X-Forwarded-For", "spoofed"), ("X-Forwarded-For", "10.0.0.3")]
    await house.connect(headers=lines)
    with pytest.raises(WSServerHandshakeError):
        await house.connect(headers=[("X-Forwarded-For", "other"), *lines[1:]])


async def test_a_fault_of_the_program_is_an_error_to_one(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ada, bob = await house.call("Ada", "Bob")
    real = house.signaling.switchboard.receive

    def faulty(connection: int, message: Any, now: float, admission: Any) -> Any:
        if message.type == "media.recalibrate":
            raise RuntimeError("a bug")
        return real(connection, message, now, admission)

    monkeypatch.setattr(house.signaling.switchboard, "receive", faulty)
    with caplog.at_level(logging.CRITICAL):
        await ada.send("media.recalibrate")
        assert (await ada.next("error")).code == "internal"
    await ada.send("text.send", text="still here")
    await bob.next("text", text="still here")


async def test_shutting_down_tells_everybody_soon(house: House) -> None:
    ada, bob = await house.call("Ada", "Bob")
    silent = await house.connect()
    await house.worker()
    started = asyncio.get_running_loop().time()
    await house.client.server.close()
    assert asyncio.get_running_loop().time() - started < 3
    for terminal in (ada, bob):
        assert (await terminal.next("call.ended")).reason == "shutting_down"
        assert (await terminal.next("error")).code == "shutting_down"
        assert await terminal.closed() == 1001
    await silent.closed()


async def test_what_is_counted(house: House) -> None:
    ada, _ = await house.call("Ada", "Bob")
    ada.cut()
    again: Terminal = await house.connect()
    await again.hello("Ada", ada.token)
    await again.answer("room.leave")
    await again.answer("room.leave")
    for line, value in {
        'understudy_signaling_terminals{presence="online"}': 2,
        "understudy_signaling_rooms ": 1,
        'understudy_signaling_calls_started_total{kind="video",mode="reenacted"}': 1,
        'understudy_signaling_calls{kind="video",mode="reenacted"}': 0,
        'understudy_signaling_relay_requests_total{kind="video",mode="reenacted",outcome="connected"}': 1,
        'understudy_signaling_reconnects_total{outcome="resumed"}': 1,
        'understudy_signaling_refusals_total{code="out_of_order"}': 1,
        'understudy_signaling_messages_total{type="room.leave"}': 2,
    }.items():
        assert metric(house, line) == value, line
