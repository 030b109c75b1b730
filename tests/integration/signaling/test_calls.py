"""Calls from end to end over real WebSockets: by link, asked for, direct, of three, lost and resumed."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.signaling.conftest import Start
from tests.integration.signaling.harness import House

OFFER = {"type": "offer", "sdp": "v=0 offer"}
ANSWER = {"type": "answer", "sdp": "v=0 answer"}
#: Loss is noticed and forgotten fast.
FAST = {"heartbeat_s": 0.1, "silent_after_s": 0.6, "resume_s": 1.0, "tick_s": 0.05}


async def test_a_call_by_link_through_a_worker(house: House) -> None:
    worker = await house.worker()
    await worker.next("worker.welcome")
    ada, bob = await house.terminal("Ada"), await house.terminal("Bob")
    await ada.send("target.select", target="astronaut")
    await ada.send("media.signal", channel="publish", session="p1", description=OFFER)
    room = (await ada.answer("room.create")).room
    seen = await bob.answer("room.join", room=room)
    assert [m.name for m in seen.members] == ["Ada", "Bob"]

    pending = await bob.answer("relay.request")
    incoming = await ada.next("relay.incoming")
    assert (incoming.request, incoming.name) == (pending.request, "Bob")
    accepted = await ada.answer("relay.accept", request=incoming.request)
    for terminal in (ada, bob):
        state = await terminal.next("call.state", call=accepted.call)
        assert {m.terminal for m in state.members} == {ada.terminal, bob.terminal}

    await worker.next("driver.update", terminal=ada.terminal, target="astronaut", viewers=[])
    await worker.next("session.signal", terminal=ada.terminal, channel="publish")
    await worker.next("driver.update", terminal=ada.terminal, viewers=[bob.terminal])
    await worker.send(
        "worker.signal", terminal=ada.terminal, session="p1", channel="publish", description=ANSWER
    )
    assert (await ada.next("media.signal")).description.sdp == "v=0 answer"

    await bob.send("media.signal", channel="subscribe", session="s1", peer=ada.terminal, description=OFFER)
    signal = await worker.next("session.signal", terminal=bob.terminal, channel="subscribe")
    assert signal.peer == ada.terminal
    await worker.send("worker.status", terminal=ada.terminal, state="live")
    assert (await bob.next("media.status")).state == "live"

    await bob.send("text.send", text="hello")
    assert (await ada.next("text")).text == "hello"
    await bob.send("bye")
    assert await bob.closed() == 1000
    assert (await ada.next("call.ended")).reason == "alone"
    await worker.next("driver.gone", terminal=bob.terminal)


async def test_decline_cancel_and_time_out(start: Start) -> None:
    house = await start(ring_timeout_s=0.3, tick_s=0.05)
    ada, bob = await house.terminal("Ada", "R"), await house.terminal("Bob", "R")
    await ada.answer("relay.request")
    await bob.answer("relay.decline", request=(await bob.next("relay.incoming")).request)
    assert (await ada.next("relay.state", state="declined")).by == bob.terminal
    assert (await ada.next("relay.state", state="closed")).reason == "answered"

    request = (await ada.answer("relay.request")).request
    await bob.next("relay.incoming", request=request)
    assert (await ada.answer("relay.cancel", request=request)).reason == "cancelled"
    assert (await bob.next("relay.state", request=request)).reason == "cancelled"

    request = (await ada.answer("relay.request")).request
    for terminal in (ada, bob):
        closed = await terminal.next("relay.state", request=request, state="closed")
        assert closed.reason == "timed_out"


async def test_a_direct_call_of_two_who_both_agreed(house: House) -> None:
    ada, bob, eve = [await house.terminal(name, "R") for name in ("Ada", "Bob", "Eve")]
    request = (await ada.answer("relay.request", mode="direct", to=[bob.terminal])).request
    await bob.next("relay.incoming", mode="direct")
    assert (await bob.answer("relay.accept", request=request)).code == "mode_mismatch"
    assert (await bob.answer("relay.accept", request=request, mode="direct")).state == "accepted"
    await ada.send("media.signal", channel="direct", session="d1", peer=bob.terminal, description=OFFER)
    assert (await bob.next("media.signal")).peer == ada.terminal
    refused = await eve.answer(
        "media.signal", channel="direct", session="d1", peer=bob.terminal, description=OFFER
    )
    assert (refused.code, refused.session) == ("peer_unknown", "d1")
    assert not eve.all("media.signal")


async def test_three(house: House) -> None:
    ada, bob, eve = await house.call("Ada", "Bob", "Eve")
    await ada.send("text.send", text="to both")
    await bob.next("text", text="to both")
    await eve.next("text", text="to both")
    call = ada.all("call.state")[-1].call
    assert (await bob.answer("call.leave", call=call)).reason == "left"
    state = await ada.until(lambda m: m.type == "call.state" and len(m.members) == 2)
    assert {m.terminal for m in state.members} == {ada.terminal, eve.terminal}


async def test_resume_after_a_broken_connection(house: House) -> None:
    ada, bob = await house.call("Ada", "Bob")
    await ada.send("target.select", target="astronaut")
    await ada.answer("ping")
    call = ada.all("call.state")[-1].call
    ada.cut()
    state = await bob.until(
        lambda m: m.type == "call.state" and any(member.presence == "away" for member in m.members)
    )
    assert state.call == call
    again = await house.connect()
    welcome = await again.hello("Ada", ada.token)
    assert (welcome.resumed, welcome.terminal, welcome.target) == (True, ada.terminal, "astronaut")
    await again.next("room.state")
    assert (await again.next("call.state")).call == call
    await bob.until(
        lambda m: m.type == "call.state" and all(member.presence == "online" for member in m.members)
    )


async def test_resume_takes_a_living_connection_over(house: House) -> None:
    ada = await house.terminal("Ada", "R")
    again = await house.connect()
    assert (await again.hello("Ada", ada.token)).resumed
    assert (await ada.next("error")).code == "superseded"
    assert await ada.closed() == 1008
    assert (await again.answer("ping")).type == "pong"


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_who_vanishes_is_noticed_and_then_gone(start: Start, how: str) -> None:
    house = await start(**FAST)
    ada, bob = await house.call("Ada", "Bob")
    ada.ping_every(0.1)
    bob.ping_every(0.1)
    await asyncio.sleep(0.8)
    assert all(m.presence == "online" for m in bob.all("room.state")[-1].members)
    getattr(ada, how)()
    await bob.until(lambda m: m.type == "room.state" and "away" in [x.presence for x in m.members])
    assert (await bob.next("call.ended")).reason == "peer_vanished"
    await bob.until(lambda m: m.type == "room.state" and len(m.members) == 1)
    late = await house.connect()
    assert not (await late.hello("Ada", ada.token)).resumed
    assert (await late.next("error")).code == "resume_refused"


async def test_a_worker_that_is_lost_and_one_that_comes(start: Start) -> None:
    house = await start(worker_grace_s=0.2, tick_s=0.05)
    ada = await house.terminal("Ada", "R")
    refused = await ada.answer("media.signal", channel="publish", session="p1", description=OFFER)
    assert (refused.code, refused.session) == ("worker_unavailable", "p1")
    first = await house.worker("w1")
    await first.next("worker.welcome")
    await ada.next("media.lost")  # one has come: no need to wait for the next try
    await ada.send("media.signal", channel="publish", session="p2", description=OFFER)
    await first.next("session.signal")
    first.cut()
    await ada.next("media.lost")
    second = await house.worker("w2")
    await second.next("worker.welcome")
    await ada.send("media.signal", channel="publish", session="p3", description=OFFER)
    assert (await second.next("session.signal")).session == "p3"


async def test_a_worker_without_the_secret(house: House) -> None:
    worker = await house.worker(secret="guessed")
    assert (await worker.next("worker.refused")).code == "unauthorised"
    assert await worker.closed() == 1008
    assert house.signaling.workers == 0
