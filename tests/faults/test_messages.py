"""A thousand malformed messages, to terminals' and to workers' endpoint, while others are in a call."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import psutil
import pytest
from aiohttp import WSMsgType

from tests.faults.fuzz import mutated_message
from tests.integration.signaling.conftest import Start
from tests.integration.signaling.harness import House, Peer, Terminal

COUNT = 1000
OFFER = {"type": "offer", "sdp": "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"}
CANDIDATE = {"candidate": "candidate:1 1 UDP 1 192.0.2.7 5 typ host", "sdpMid": "0", "sdpMLineIndex": 0}


def terminal_messages(me: Terminal, other: Terminal) -> list[dict[str, Any]]:
    """One of each that a terminal may send, all valid but for their moment; no goodbye."""
    return [
        {"type": "hello", "v": 1, "name": "Joker", "resume": me.token or "t" * 43},
        {"type": "room.join", "room": "R"},
        {"type": "room.create"},
        {"type": "relay.request", "kind": "video", "mode": "reenacted"},
        {"type": "relay.accept", "request": "r1", "mode": "direct"},
        {"type": "relay.decline", "request": "r1"},
        {"type": "relay.cancel", "request": "r1"},
        {"type": "call.leave"},
        {"type": "target.select", "target": "astronaut"},
        {"type": "media.set", "camera": True, "microphone": False},
        {"type": "media.signal", "channel": "publish", "session": "p1", "description": OFFER},
        {"type": "media.signal", "channel": "subscribe", "session": "s1", "peer": other.terminal},
        {"type": "media.signal", "channel": "direct", "session": "d1", "peer": other.terminal},
        {"type": "media.ice", "channel": "publish", "session": "p1", "candidate": CANDIDATE},
        {"type": "media.close", "session": "p1"},
        {"type": "media.recalibrate"},
        {"type": "media.react", "template": "smile"},
        {"type": "text.send", "text": "hello"},
        {"type": "ping", "id": "1"},
    ]


def worker_messages(terminal: Terminal) -> list[dict[str, Any]]:
    """One of each that a media worker may send."""
    about: dict[str, Any] = {"terminal": terminal.terminal}
    stats = {"generator": "g", "fps": 30.0, "frame_ms": 9.0, "age_ms": 40.0, "size": 256}
    return [
        {"type": "worker.hello", "worker": "w1", "secret": "wrong", "capacity": 8, "instance": "i1"},
        {"type": "worker.load", "drivers": 1, "load": 0.5, "draining": False},
        {"type": "worker.signal", **about, "session": "p1", "channel": "publish", "description": OFFER},
        {"type": "worker.signal", **about, "session": "p1", "channel": "publish", "candidate": CANDIDATE},
        {"type": "worker.status", **about, "state": "live", "detail": ""},
        {"type": "worker.stats", **about, **stats},
        {"type": "worker.error", **about, "code": "media_failed", "message": "No.", "session": "p1"},
    ]


async def throw(peer: Peer, chance: random.Random, valid: list[dict[str, Any]]) -> None:
    """Send one mutated message, now and then as a text frame that is no UTF-8."""
    message = mutated_message(chance, chance.choice(valid))
    writer: Any = peer.socket._writer
    if isinstance(message, bytes):
        await peer.socket.send_bytes(message)
    elif chance.random() < 0.1:
        body = bytearray(message.encode("utf-8", "surrogatepass"))
        body[chance.randrange(len(body))] = chance.randrange(0x80, 0x100)
        await writer.send_frame(bytes(body), WSMsgType.TEXT)
    else:
        await writer.send_frame(message.encode("utf-8", "surrogatepass"), WSMsgType.TEXT)


async def talk(ada: Terminal, bob: Terminal, until: asyncio.Task[None]) -> int:
    """Others' conversation meanwhile; returns the texts that were exchanged."""
    number = 0
    while not until.done():
        await ada.send("text.send", text=str(number))
        await bob.next("text", text=str(number))
        number += 1
    return number


@pytest.fixture
async def house(start_signaling: Start) -> House:
    return await start_signaling(messages_per_second=1e6, message_burst=1_000_000)


async def unharmed(ada: Terminal, bob: Terminal) -> None:
    for terminal in (ada, bob):
        assert not terminal.all("error")
        assert not terminal.all("call.ended")
    await ada.send("text.send", text="after")
    await bob.next("text", text="after")


async def test_a_thousand_messages_of_a_terminal(house: House) -> None:
    """Found: 951 of 1,000 refused (malformed 905, out of order 27, ...), no ``internal``, within 1 s."""
    worker = await house.worker()
    await worker.next("worker.welcome")
    ada, bob = await house.call("Ada", "Bob")
    joker = await house.terminal("Joker", "R")
    valid = terminal_messages(joker, ada)
    chance = random.Random(11)
    before = psutil.Process().memory_info().rss

    async def flood() -> None:
        for number in range(COUNT):
            await throw(joker, chance, valid)
            if number % 50 == 49:
                assert (await joker.answer("ping")).type == "pong", "refused, and still served"

    flooding = asyncio.create_task(flood())
    texts = await talk(ada, bob, flooding)
    await flooding
    codes = Counter(str(message.code) for message in joker.all("error"))
    assert codes.total() > COUNT // 2
    assert "internal" not in codes
    assert texts > 20
    assert psutil.Process().memory_info().rss - before < 100 * 2**20
    await unharmed(ada, bob)


async def test_a_thousand_messages_of_a_worker(house: House) -> None:
    """Found: 895 of 1,000 refused (malformed 877, out of order 18), no ``internal``; the worker stays."""
    worker = await house.worker()
    await worker.next("worker.welcome")
    ada, bob = await house.call("Ada", "Bob")
    await ada.send("media.signal", channel="publish", session="p1", description=OFFER)
    await worker.next("session.signal", terminal=ada.terminal)
    chance = random.Random(12)

    async def flood() -> None:
        for _ in range(COUNT):
            await throw(worker, chance, worker_messages(ada))
        await worker.send("worker.status", terminal=ada.terminal, state="live", detail="the last")

    flooding = asyncio.create_task(flood())
    await talk(ada, bob, flooding)
    await flooding
    again = await house.worker("w2")
    await again.next("worker.welcome")
    await ada.next("media.status", detail="the last")
    codes = Counter(str(message.code) for message in worker.all("worker.refused"))
    assert codes.total() > COUNT // 2
    assert "internal" not in codes
    for terminal in (ada, bob):
        assert not [error for error in terminal.all("error") if error.code == "internal"]
        assert not terminal.all("call.ended")
    await ada.send("text.send", text="after")
    await bob.next("text", text="after")


async def test_before_the_hello(house: House) -> None:
    """Strangers who begin with anything: each is refused by a code, whoever says hello then is let in."""
    ada, bob = await house.call("Ada", "Bob")
    chance = random.Random(13)
    for _ in range(60):
        stranger = await house.connect()
        for _ in range(5):
            await throw(stranger, chance, terminal_messages(stranger, bob))
        welcome = await stranger.answer("hello", name="Stranger")
        assert welcome.type in {"welcome", "error"}  # an error: it has said a valid hello before
        assert "internal" not in [error.code for error in stranger.all("error")]
        stranger.cut()
    await unharmed(ada, bob)
