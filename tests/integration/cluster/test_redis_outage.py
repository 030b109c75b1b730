"""Redis goes and comes back: who is connected stays so, and the nodes agree by themselves."""

from __future__ import annotations

import asyncio

import pytest

from signaling.replication import redis_log
from tests.integration.cluster.conftest import Join, agreed, eventually
from tests.integration.cluster.redis_server import RedisServer
from tests.integration.signaling.harness import House, Terminal

#: Anybody whose silence counted over the outages below would be gone.
SHORT = {"heartbeat_s": 0.5, "silent_after_s": 1.5, "resume_s": 1.5}


async def a_call(here: House, there: House) -> tuple[Terminal, Terminal]:
    ada, bob = await here.terminal("Ada", "R"), await there.terminal("Bob", "R")
    ada.ping_every(0.4)
    bob.ping_every(0.4)
    await ada.answer("relay.request", kind="video", mode="reenacted")
    incoming = await bob.next("relay.incoming")
    await bob.answer("relay.accept", request=incoming.request, mode=incoming.mode)
    for terminal in (ada, bob):
        await terminal.until(lambda m: m.type == "call.state" and len(m.members) == 2)
    return ada, bob


async def still_in_call(ada: Terminal, bob: Terminal, text: str) -> None:
    assert (await ada.answer("text.send", text=text)).type == "text"
    assert (await bob.next("text", text=text)).sender == ada.terminal
    for terminal in (ada, bob):
        assert not terminal.socket.closed
        assert not terminal.all("call.ended")
        assert all(m.presence == "online" for state in terminal.all("call.state") for m in state.members)


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "with its data"])
async def test_killed_and_started_again(join: Join, redis: RedisServer, empty: bool) -> None:
    here, there = await join(**SHORT), await join(**SHORT)
    ada, bob = await a_call(here, there)
    worker = await there.worker()
    await worker.next("worker.welcome")
    before = ada.terminal, ada.all("call.state")[-1].call

    redis.kill()
    await eventually(lambda: here.signaling.log.trouble and there.signaling.log.trouble)
    refused = await ada.answer("text.send", text="Anybody there?")
    assert (refused.type, refused.code) == ("error", "unavailable")
    offer = {"type": "offer", "sdp": "v=0"}
    await ada.send("media.signal", channel="publish", session="s1", description=offer)
    assert (await ada.next("error", code="unavailable")).session == "s1"
    assert (await ada.answer("ping")).type == "pong"
    newcomer = await here.connect()
    assert (await newcomer.answer("hello", name="Eve")).code == "unavailable"
    assert await newcomer.closed() == 1013
    for node in (here, there):
        assert "out of reach" in str(node.signaling.log.trouble)
    await asyncio.sleep(4)  # longer than silence and resumption are waited for

    redis.start(empty=empty)
    await agreed(here.signaling, there.signaling)
    await still_in_call(ada, bob, "And on we go.")
    state = there.signaling.switchboard.state
    assert next(iter(state.terminals)) == before[0]
    assert list(state.rooms["R"].calls) == [before[1]]
    assert list(state.workers) == ["w1"]
    eve = await here.terminal("Eve", "R")
    assert len(eve.all("room.state")[-1].members) == 3


async def test_terminals_that_went_meanwhile_are_missed(join: Join, redis: RedisServer) -> None:
    here, there = await join(**SHORT), await join(**SHORT)
    _, bob = await a_call(here, there)
    redis.kill()
    await eventually(lambda: here.signaling.log.trouble and there.signaling.log.trouble)
    ada_state = next(iter(there.signaling.switchboard.state.terminals.values()))
    assert ada_state.lost_at is None
    for connection in list(here.signaling._performer.connections.values()):
        connection.abort()
    redis.start(empty=True)
    await bob.until(lambda m: m.type == "room.state" and any(p.presence == "away" for p in m.members))
    await bob.until(lambda m: m.type == "call.ended")


async def test_emptied_while_it_runs(join: Join, redis: RedisServer) -> None:
    here, there = await join(**SHORT), await join(**SHORT)
    ada, bob = await a_call(here, there)
    process = await asyncio.create_subprocess_exec("redis-cli", "-p", str(redis.port), "FLUSHALL", stdout=-3)
    await process.wait()
    await eventually(lambda: here.signaling.log.trouble and there.signaling.log.trouble)
    await agreed(here.signaling, there.signaling)
    await still_in_call(ada, bob, "Where were we?")


async def test_frozen(join: Join, redis: RedisServer) -> None:
    here, there = await join(**SHORT), await join(**SHORT)
    ada, bob = await a_call(here, there)
    redis.freeze()
    await eventually(lambda: here.signaling.log.trouble and there.signaling.log.trouble)
    assert (await ada.answer("ping")).type == "pong"
    redis.thaw()
    await agreed(here.signaling, there.signaling)
    await still_in_call(ada, bob, "It is warm again.")


async def test_what_was_sent_into_a_stall_is_refused(
    join: Join, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_log, "BEAT_S", 60.0)
    node = await join(tick_s=60.0)  # nothing of the node's own is being appended
    ada = await node.terminal("Ada", "R")
    redis.freeze()
    await asyncio.sleep(0.5)  # the read began before, gives up first and takes the writing with it
    refused = await ada.answer("relay.request", kind="video", mode="reenacted")
    assert (refused.type, refused.code) == ("error", "unavailable")


@pytest.mark.parametrize("restarted", [False, True], ids=["redis runs on", "redis restarts with its data"])
async def test_the_state_outlives_all_nodes(join: Join, redis: RedisServer, restarted: bool) -> None:
    node = await join()
    ada = await node.terminal("Ada", "R")
    bob = await node.terminal("Bob", "R")
    await ada.until(lambda m: m.type == "room.state" and len(m.members) == 2)
    await node.client.server.close()
    if restarted:
        redis.kill()
        redis.start(empty=False)
    later = await join()
    again = await later.terminal("Ada", resume=ada.token)
    assert again.terminal == ada.terminal
    room = await again.next("room.state") if not again.all("room.state") else again.all("room.state")[0]
    assert [member.terminal for member in room.members] == [ada.terminal, bob.terminal]
