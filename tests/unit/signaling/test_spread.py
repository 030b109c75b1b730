"""Calls among several workers: which is chosen, who goes where when one is lost, moves while one drains."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client import CollectorRegistry

from signaling.metrics import Metrics
from signaling.protocol import (
    DriverGone,
    DriverUpdate,
    LeaveCall,
    SelectTarget,
    WorkerGone,
    WorkerLoad,
)
from tests.unit.signaling.calling import call
from tests.unit.signaling.world import FakeWorker, World, offer


def serving(world: World, terminal: str) -> str:
    """The id of the terminal's worker."""
    worker = world.board.state.terminals[terminal].worker
    assert worker is not None
    return worker.id


def drain(world: World, worker: FakeWorker) -> None:
    world.say(worker, WorkerLoad(drivers=len(worker.drivers), load=0.1, draining=True))


# ---------------------------------------------------------------- choice


def test_the_better_of_two_drawn_at_random_is_chosen() -> None:
    """Of five workers the fullest is never chosen (it loses any draw), the emptiest most often."""
    world = World()
    for index in range(5):
        worker = world.worker(f"w{index}", capacity=1000)
        world.say(worker, WorkerLoad(drivers=0, load=0.9 - 0.1 * index))
    chosen = Counter[str]()
    for _ in range(200):
        client = world.client()
        world.publish(client)
        chosen[serving(world, client.terminal)] += 1
    assert chosen["w0"] == 0
    # Of the 10 pairs each worker is the better one in so many as there are worse ones.
    assert chosen["w4"] > chosen["w3"] > chosen["w1"] > 0
    assert 0.3 < chosen["w4"] / 200 < 0.5


@pytest.mark.parametrize("reason", ["draining", "full"])
def test_who_drains_or_is_full_is_not_drawn(reason: str) -> None:
    world = World()
    for index in range(4):
        worker = world.worker(f"w{index}", capacity=100)
        if index:
            world.say(
                worker, WorkerLoad(drivers=0, load=float(reason == "full"), draining=reason == "draining")
            )
    for _ in range(20):
        client = world.client()
        world.publish(client)
        assert serving(world, client.terminal) == "w0"


def test_a_call_goes_where_all_its_members_have_room() -> None:
    world = World()
    world.say(world.worker("small", capacity=1), WorkerLoad(drivers=0, load=0))
    world.say(world.worker("large", capacity=10), WorkerLoad(drivers=0, load=0.5))
    ada, bob, eve = call(world, 3)
    for client in (ada, bob, eve):
        world.publish(client)
        assert client.errors == []
        assert serving(world, client.terminal) == "large"


def test_members_places_are_kept_from_the_first_offer_on() -> None:
    """Whoever calls between two members' offers cannot take the second one's place."""
    world = World()
    world.worker(capacity=2)
    ada, bob = call(world, 2)
    eve = world.client()
    world.publish(ada)
    world.publish(eve)
    world.publish(bob)
    assert (eve.errors, bob.errors) == (["worker_busy"], [])


# ---------------------------------------------------------------- loss


def test_a_lost_workers_call_is_given_to_another_after_a_second() -> None:
    world = World()
    worker = world.worker("w1")
    ada, bob = call(world, 2)
    world.publish(ada)
    world.publish(bob)
    world.worker("w2", capacity=2)
    world.lose_worker(worker)
    world.pass_time(0.9, step=0.3)
    assert not ada.all(WorkerGone), "it may be back in a moment"
    world.pass_time(0.3, step=0.3)
    assert [m.plays_on_s for m in ada.all(WorkerGone) + bob.all(WorkerGone)] == [0, 0]
    eve = world.client()
    world.publish(eve)
    assert eve.errors == ["worker_busy"], "the places are those of the call"
    world.publish(ada, "p2")
    world.publish(bob, "p2")
    assert {serving(world, c.terminal) for c in (ada, bob)} == {"w2"}
    assert ada.errors == bob.errors == []


def test_a_lost_worker_is_waited_for_when_nobody_has_room_for_its_drivers() -> None:
    world = World()
    worker = world.worker("w1")
    ada, bob = call(world, 2)
    world.publish(ada)
    world.publish(bob)
    world.worker("w2", capacity=1)
    world.lose_worker(worker)
    world.pass_time(2.5)
    assert not ada.all(WorkerGone)
    world.worker("w1")
    assert not ada.all(WorkerGone), "it is back, sessions and all"


def test_those_refused_for_want_of_a_worker_are_told_when_one_comes() -> None:
    world = World()
    ada, eve = world.client(), world.client()
    world.publish(ada)
    assert ada.errors == ["worker_unavailable"]
    world.worker()
    assert len(ada.all(WorkerGone)) == 1
    assert not eve.all(WorkerGone), "it asked for nothing"
    world.publish(ada, "p2")
    world.worker("w2")
    assert len(ada.all(WorkerGone)) == 1


# ---------------------------------------------------------------- drain


def test_a_draining_workers_call_moves_while_its_sessions_play_on() -> None:
    world = World()
    old = world.worker("w1")
    ada, bob = call(world, 2)
    world.publish(ada)
    world.publish(bob)
    world.send(ada, offer("subscribe", "s1", bob.terminal))
    new = world.worker("w2")
    drain(world, old)
    assert [m.plays_on_s for m in ada.all(WorkerGone) + bob.all(WorkerGone)] == [5, 5]
    assert {serving(world, c.terminal) for c in (ada, bob)} == {"w2"}
    assert len(old.sessions) == 3, "the former sessions play on"
    world.publish(ada, "p2")
    world.publish(bob, "p2")
    world.send(ada, offer("subscribe", "s2", bob.terminal))
    assert len(new.sessions) == 3
    assert len(old.sessions) == 3
    world.pass_time(4)
    assert len(old.sessions) == 3
    world.pass_time(1.5)
    assert (old.drivers, old.sessions) == ({}, {})
    assert len(new.sessions) == 3
    assert len(ada.all(WorkerGone)) == 1


def test_what_plays_on_follows_changes_and_ends_with_the_call() -> None:
    """Nobody who left the call sees it go on at the former worker, nor a target that was put away."""
    world = World()
    old = world.worker("w1")
    ada, bob, eve = call(world, 3)
    for client in (ada, bob, eve):
        world.publish(client)
    world.worker("w2")
    drain(world, old)
    world.send(ada, SelectTarget(target="other"))
    assert old.drivers[ada.terminal].target == "other"
    world.send(eve, LeaveCall(call=next(iter(eve.calls))))
    assert old.drivers[ada.terminal].viewers == [bob.terminal]
    world.send(bob, LeaveCall(call=next(iter(bob.calls))))
    assert old.drivers == {}


def test_a_terminal_that_leaves_leaves_both_workers() -> None:
    world = World()
    old = world.worker("w1")
    ada = world.client()
    world.publish(ada)
    new = world.worker("w2")
    drain(world, old)
    world.lose(ada)
    world.pass_time(31, (ada,))
    assert DriverGone(terminal=ada.terminal) in old.log
    assert DriverGone(terminal=ada.terminal) in new.log


def test_without_room_elsewhere_a_call_stays_and_moves_when_there_is() -> None:
    world = World()
    old = world.worker("w1")
    ada, bob = call(world, 2)
    world.publish(ada)
    world.publish(bob)
    world.worker("w2", capacity=1)
    drain(world, old)
    assert not ada.all(WorkerGone), "half a call goes nowhere"
    world.worker("w3", capacity=2)
    drain(world, old)  # its next heartbeat
    assert {serving(world, c.terminal) for c in (ada, bob)} == {"w3"}


def test_a_draining_worker_that_goes_is_not_waited_for() -> None:
    world = World()
    old = world.worker("w1")
    ada = world.client()
    world.publish(ada)
    drain(world, old)
    world.lose_worker(old)
    world.pass_time(0.1, step=0.1)
    assert len(ada.all(WorkerGone)) == 1


def test_a_former_worker_that_breaks_down_costs_nothing() -> None:
    world = World()
    old = world.worker("w1")
    ada = world.client()
    world.publish(ada)
    new = world.worker("w2")
    drain(world, old)
    world.publish(ada, "p2")
    world.lose_worker(old)
    world.pass_time(10)
    assert len(ada.all(WorkerGone)) == 1
    assert set(new.sessions) == {(ada.terminal, "p2")}
    assert isinstance(old.log[-1], DriverUpdate)


# ---------------------------------------------------------------- figures


def test_each_workers_room_and_load_are_figures() -> None:
    world = World()
    for name, load, draining in (("w1", 0.25, False), ("w2", 0.5, True)):
        world.say(world.worker(name, capacity=8), WorkerLoad(drivers=2, load=load, draining=draining))
    world.publish(world.client())
    registry = CollectorRegistry()
    Metrics(registry, world.board.state)

    def figure(name: str, worker: str) -> float | None:
        return registry.get_sample_value(f"understudy_signaling_worker_{name}", {"worker": worker})

    names = ("capacity", "free_places", "load", "draining", "drivers")
    assert [figure(name, "w1") for name in names] == [8, 7, 0.25, 0, 1]
    assert [figure(name, "w2") for name in names] == [8, 0, 0.5, 1, 0]
