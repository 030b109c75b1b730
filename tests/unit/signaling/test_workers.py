"""Media workers: secret, loss, return, restart, silence."""

from __future__ import annotations

import pytest

from signaling.effects import Close, Send
from signaling.protocol import (
    CloseMedia,
    DriverUpdate,
    ErrorCode,
    LeaveRoom,
    SelectTarget,
    SessionClose,
    WorkerGone,
    WorkerHello,
    WorkerLoad,
    WorkerRefused,
    WorkerWelcome,
)
from signaling.state import Limits
from signaling.switchboard import Switchboard
from tests.unit.signaling.calling import call
from tests.unit.signaling.world import SECRET, World, offer


@pytest.mark.parametrize(("ours", "theirs"), [("right", "wrong"), ("right", ""), ("", "")])
def test_wrong_secret(ours: str, theirs: str) -> None:
    board = Switchboard(Limits(), lambda size: "x", worker_secret=ours)
    effects = board.worker_receive(1, WorkerHello(worker="w", secret=theirs, capacity=1), 0.0)
    assert [type(e) for e in effects[1:]] == [Send, Close]
    assert isinstance(effects[1], Send)
    assert isinstance(effects[1].message, WorkerRefused)
    assert effects[1].message.code is ErrorCode.UNAUTHORISED
    assert not board.state.workers


def test_nothing_before_hello_and_hello_once() -> None:
    world = World()
    (_, refused) = world.board.worker_receive(900, WorkerLoad(drivers=0, load=0), world.now)
    assert isinstance(refused, Send)
    assert refused.message.code is ErrorCode.HELLO_EXPECTED  # type: ignore[attr-defined]
    worker = world.worker()
    world.say(worker, WorkerHello(worker="w1", secret=SECRET, capacity=1))
    assert worker.log[-1].code is ErrorCode.OUT_OF_ORDER
    assert worker.connection is not None


def test_a_lost_worker_is_told_to_its_terminals_after_the_grace() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    eve = world.client(room="R")
    world.publish(ada)
    world.publish(bob)
    world.lose_worker(worker)
    world.publish(ada, "p2")
    assert ada.errors == ["worker_unavailable"], "it may be back any moment"
    world.pass_time(2.5)
    assert not ada.all(WorkerGone)
    world.pass_time(1)
    assert len(ada.all(WorkerGone)) == len(bob.all(WorkerGone)) == 1
    assert not eve.all(WorkerGone)
    assert len(ada.calls) == 1, "the call goes on"
    world.worker("w2")
    world.publish(ada, "p3")
    world.publish(bob, "p3")
    assert set(world.workers["w2"].sessions) == {(ada.terminal, "p3"), (bob.terminal, "p3")}


def test_the_same_worker_returns_with_its_sessions() -> None:
    world = World()
    worker = world.worker()
    ada, bob, eve = call(world, 3)
    for client in (ada, bob, eve):
        world.publish(client)
    world.send(ada, offer("subscribe", "s1", bob.terminal))
    world.send(ada, offer("subscribe", "s2", eve.terminal))
    world.lose_worker(worker)
    # Meanwhile one leaves, one changes its target, one closes a session.
    world.send(eve, LeaveRoom())
    world.send(eve, CloseMedia(session="p1"))
    world.send(bob, SelectTarget(target="other"))
    world.publish(ada, "p2")
    assert ada.errors == ["worker_unavailable"], "and leaves the former session as it was"
    world.pass_time(1)
    count = len(worker.log)
    world.worker()
    sent = worker.log[count:]
    assert isinstance(sent[0], WorkerWelcome)
    assert set(sent[0].drivers) == {ada.terminal, bob.terminal}
    assert SessionClose(terminal=ada.terminal, session="s2") in sent
    assert {m.terminal: m.target for m in sent if isinstance(m, DriverUpdate)} == {
        ada.terminal: None,
        bob.terminal: "other",
    }
    assert not ada.all(WorkerGone)
    assert set(worker.sessions) == {(ada.terminal, "p1"), (ada.terminal, "s1"), (bob.terminal, "p1")}


@pytest.mark.parametrize("instance", ["i2", None])
def test_a_restarted_worker_is_taken_back_at_once(instance: str | None) -> None:
    world = World()
    worker = world.worker()
    ada = world.client()
    world.publish(ada)
    world.lose_worker(worker)
    world.worker(instance=instance)
    assert len(ada.all(WorkerGone)) == 1
    assert worker.log[-1].drivers == []
    world.publish(ada, "p2")
    assert set(worker.sessions) == {(ada.terminal, "p2")}


def test_a_worker_that_connects_again_replaces_its_old_connection() -> None:
    world = World()
    worker = world.worker()
    ada = world.client()
    world.publish(ada)
    old = worker.connection
    world.worker()
    assert worker.connection != old
    assert not ada.all(WorkerGone)
    assert set(worker.drivers) == {ada.terminal}


def test_a_silent_worker_is_given_up() -> None:
    world = World()
    worker = world.worker()
    ada = world.client()
    world.publish(ada)
    world.pass_time(7.5, (worker,))
    assert not ada.all(WorkerGone)
    world.pass_time(1, (worker,))
    assert len(ada.all(WorkerGone)) == 1
    assert worker.connection is None


def test_a_worker_without_drivers_leaves_without_trace() -> None:
    world = World()
    world.lose_worker(world.worker())
    assert not world.board.state.workers
