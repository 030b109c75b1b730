"""Terminals and workers on different signaling nodes of one Redis are together."""

from __future__ import annotations

import asyncio

from signaling.protocol import WorkerHello
from tests.integration.cluster.conftest import Join, agreed, eventually
from tests.integration.cluster.redis_server import RedisServer


async def test_a_call_across_nodes(join: Join) -> None:
    here, there = await join(), await join()
    ada, bob = await here.terminal("Ada", "R"), await there.terminal("Bob", "R")
    await ada.until(lambda m: m.type == "room.state" and len(m.members) == 2)
    await ada.answer("relay.request", kind="video", mode="reenacted")
    incoming = await bob.next("relay.incoming")
    assert incoming.name == "Ada"
    await bob.answer("relay.accept", request=incoming.request, mode=incoming.mode)
    for terminal in (ada, bob):
        await terminal.until(lambda m: m.type == "call.state" and len(m.members) == 2)
    receipt = await ada.answer("text.send", text="Can you hear me?")
    assert (await bob.next("text")).text == "Can you hear me?"
    assert abs(receipt.at - asyncio.get_running_loop().time()) > 1e8  # Unix time, not the machine's uptime
    await agreed(here.signaling, there.signaling)


async def test_a_worker_on_one_node_serves_a_terminal_on_another(join: Join) -> None:
    here, there = await join(), await join()
    worker = await here.worker()
    await worker.next("worker.welcome")
    ada = await there.terminal("Ada", "R")
    await ada.send(
        "media.signal", channel="publish", session="s1", description={"type": "offer", "sdp": "v=0"}
    )
    offered = await worker.next("session.signal")
    assert (offered.terminal, offered.session) == (ada.terminal, "s1")
    await worker.send(
        "worker.signal",
        terminal=ada.terminal,
        session="s1",
        channel="publish",
        description={"type": "answer", "sdp": "v=0 answer"},
    )
    assert (await ada.next("media.signal")).description.sdp == "v=0 answer"


async def test_a_workers_secret_is_checked_and_enters_no_log(join: Join, redis: RedisServer) -> None:
    node = await join()
    wrong = await node.worker("w1", secret="guessed")
    assert (await wrong.next("worker.refused")).code == "unauthorised"
    right = await node.worker("w2")
    await right.next("worker.welcome")
    secret = WorkerHello.model_fields["secret"]
    assert secret is not None
    kept = b"".join(path.read_bytes() for path in redis.folder.rglob("*") if path.is_file())
    assert b"worker.hello" in kept
    assert b"between us" not in kept


async def test_a_late_node_knows_all(join: Join) -> None:
    here = await join()
    ada, bob = await here.call("Ada", "Bob", kind="video", mode="reenacted")
    there = await join()
    await agreed(here.signaling, there.signaling)
    eve = await there.terminal("Eve", "R")
    room = await eve.next("room.state") if not eve.all("room.state") else eve.all("room.state")[-1]
    assert [member.name for member in room.members] == ["Ada", "Bob", "Eve"]
    assert len({ada.terminal, bob.terminal, eve.terminal}) == 3


async def test_resume_through_another_node(join: Join) -> None:
    here, there = await join(), await join()
    ada, bob = await here.call("Ada", "Bob", kind="video", mode="reenacted")
    call = ada.all("call.state")[-1].call
    ada.cut()
    await bob.until(lambda m: m.type == "room.state" and any(p.presence == "away" for p in m.members))
    again = await there.terminal("Ada", resume=ada.token)
    assert again.terminal == ada.terminal
    assert (await again.next("call.state")).call == call


async def test_a_node_that_ends_leaves_its_terminals_to_the_others(join: Join) -> None:
    here, there = await join(), await join()
    ada = await here.terminal("Ada", "R")
    bob = await there.terminal("Bob", "R")
    await bob.next("room.state") if not bob.all("room.state") else None
    await here.client.server.close()
    assert await ada.closed() == 1001
    assert not ada.all("call.ended")
    await bob.until(lambda m: m.type == "room.state" and any(p.presence == "away" for p in m.members))
    again = await there.terminal("Ada", resume=ada.token)
    assert again.terminal == ada.terminal
    assert list(there.signaling.switchboard.state.terminals) == [ada.terminal, bob.terminal]


async def test_heartbeats_keep_terminals_of_all_nodes_online(join: Join) -> None:
    fast = {"heartbeat_s": 0.5, "silent_after_s": 1.6, "resume_s": 2.0}
    here, there = await join(**fast), await join(**fast)
    ada, bob = await here.terminal("Ada", "R"), await there.terminal("Bob", "R")
    ada.ping_every(0.4)
    bob.ping_every(0.4)
    await asyncio.sleep(3)
    states = [message for message in ada.all("room.state") if len(message.members) == 2]
    assert all(member.presence == "online" for state in states for member in state.members)
    bob.freeze()
    await ada.until(lambda m: m.type == "room.state" and any(p.presence == "away" for p in m.members))
    await ada.until(lambda m: m.type == "room.state" and len(m.members) == 1)
    await eventually(lambda: len(there.signaling.switchboard.state.terminals) == 1)


async def test_a_node_with_other_settings_is_not_let_in(join: Join) -> None:
    here = await join()
    await eventually(lambda: here.signaling.log.trouble is None)
    await asyncio.sleep(0.5)  # until it holds the leader's place
    other = await join(room_capacity=5)
    assert "other settings" in str(other.signaling.log.trouble)
    stranger = await join(worker_secret="another secret")
    assert "another worker_secret" in str(stranger.signaling.log.trouble)
    assert here.signaling.log.trouble is None
