"""Terminals: hello, presence, loss, resume, farewell."""

from __future__ import annotations

from typing import Any

import pytest

from signaling.effects import Close, Effect, Send, Tally
from signaling.protocol import (
    Bye,
    CallEnded,
    Error,
    ErrorCode,
    Hello,
    JoinRoom,
    MediaStatus,
    Ping,
    Pong,
    RequestRelay,
    RoomState,
    SelectTarget,
    SendText,
    SetMedia,
    Welcome,
    WorkerGone,
    WorkerStatus,
)
from tests.unit.signaling.calling import call
from tests.unit.signaling.world import Client, World, texts


def presences(client: Client) -> dict[str, str]:
    assert client.room is not None
    return {m.name: m.presence for m in client.room.members}


def done(effects: list[Effect]) -> list[Any]:
    """What is done to connections."""
    return [effect for effect in effects if not isinstance(effect, Tally)]


def test_hello_makes_a_terminal() -> None:
    world = World()
    client = Client("Ada")
    world.clients.append(client)
    world.hello(client, id="h1")
    welcome = client.last(Welcome)
    assert welcome.re == "h1"
    assert not welcome.resumed
    assert welcome.heartbeat_s == 3.0
    assert welcome.ice_servers[0].urls == ["stun:stun.example.org"]


def test_nothing_before_hello() -> None:
    world = World()
    (error,) = done(world.board.receive(77, JoinRoom(room="R", id="j"), world.now))
    assert (error.message.code, error.message.re) == (ErrorCode.HELLO_EXPECTED, "j")


def test_one_hello_is_enough() -> None:
    world = World()
    client = world.client("Ada", "R")
    world.send(client, Hello(name="Bob"))
    assert client.errors == ["out_of_order"]
    assert presences(client) == {"Ada": "online"}


def test_ping_is_answered() -> None:
    world = World()
    client = world.client()
    world.send(client, Ping(id="p"))
    assert client.last(Pong).re == "p"


def test_lost_connection_is_seen_by_the_room_and_forgotten_in_time() -> None:
    world = World()
    ada, bob = world.client("Ada", "R"), world.client("Bob", "R")
    world.lose(ada)
    assert presences(bob) == {"Ada": "away", "Bob": "online"}
    world.pass_time(29)
    assert presences(bob) == {"Ada": "away", "Bob": "online"}
    world.pass_time(2)
    assert presences(bob) == {"Bob": "online"}


def test_silent_terminal_is_away_within_ten_seconds_and_may_speak_again() -> None:
    world = World()
    ada, bob = world.client("Ada", "R"), world.client("Bob", "R")
    world.pass_time(7, (ada,))
    assert presences(bob)["Ada"] == "online"
    world.pass_time(2, (ada,))
    assert presences(bob)["Ada"] == "away"
    world.send(ada, Ping())
    assert presences(bob)["Ada"] == "online"
    assert presences(ada)["Ada"] == "online"


def test_silent_terminal_is_closed_when_its_place_goes() -> None:
    world = World()
    ada, bob = world.client("Ada", "R"), world.client("Bob", "R")
    world.pass_time(40, (ada,))
    assert ada.connection is None
    assert presences(bob) == {"Bob": "online"}


def test_whoever_is_told_of_a_peer_that_vanished() -> None:
    world = World()
    ada, bob = call(world, 2)
    world.lose(ada)
    assert [m.presence for m in next(iter(bob.calls.values())).members] == ["away", "online"]
    world.pass_time(31)
    assert bob.last(CallEnded).reason == "peer_vanished"


def test_a_call_of_three_goes_on_without_one() -> None:
    world = World()
    ada, bob, eve = call(world, 3)
    world.lose(ada)
    world.pass_time(31)
    (state,) = bob.calls.values()
    assert {m.terminal for m in state.members} == {bob.terminal, eve.terminal}
    assert not bob.all(CallEnded)


def test_resume_gives_everything_back() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    world.send(ada, SelectTarget(target="astronaut"))
    world.publish(ada)
    world.publish(bob)
    world.say(worker, WorkerStatus(terminal=bob.terminal, state="live"))
    former, calls = ada.terminal, dict(ada.calls)
    world.lose(ada)
    world.send(bob, SendText(text="are you there?"))
    world.pass_time(29)
    world.resume(ada)
    assert ada.terminal == former
    welcome = ada.last(Welcome)
    assert (welcome.resumed, welcome.target) == (True, "astronaut")
    assert set(ada.calls) == set(calls)
    assert presences(bob)["somebody"] == "online"
    assert texts(ada) == ["are you there?"]
    after = ada.log[ada.log.index(welcome) :]
    assert [m.state for m in after if isinstance(m, MediaStatus)] == ["live"]
    assert worker.drivers[former].target == "astronaut"
    assert (former, "p1") in worker.sessions, "a lost WebSocket does not end media"


def test_resume_rings_again_for_the_time_left() -> None:
    world = World()
    ada, bob = world.client("Ada", "R"), world.client("Bob", "R")
    world.send(ada, RequestRelay())
    world.lose(bob)
    world.pass_time(20)
    world.resume(bob)
    (incoming,) = bob.incoming.values()
    assert incoming.expires_s == pytest.approx(25)
    world.lose(ada)
    world.resume(ada)
    assert ada.own == {incoming.request}


def test_resume_takes_over_from_a_connection_that_still_lives() -> None:
    world = World()
    ada, bob = world.client("Ada", "R"), world.client("Bob", "R")
    old = ada.connection
    assert old is not None
    effects = done(world.board.receive(500, Hello(name="Ada", resume=ada.token), world.now))
    assert isinstance(effects[0], Send)
    assert effects[0].connection == old
    assert effects[0].message.code is ErrorCode.SUPERSEDED
    assert isinstance(effects[1], Close)
    assert effects[1].connection == old
    # What still comes from the old one is nobody's; that it closes changes nothing.
    (late,) = done(world.board.receive(old, JoinRoom(room="elsewhere"), world.now))
    assert late.message.code is ErrorCode.HELLO_EXPECTED
    assert world.board.disconnected(old, world.now) == []
    assert world.board.state.terminals[ada.terminal].connection == 500
    assert presences(bob) == {"Ada": "online", "Bob": "online"}


def test_taking_over_in_a_call() -> None:
    world = World()
    ada, _ = call(world, 2)
    calls = dict(ada.calls)
    world.resume(ada)
    assert ada.calls == calls


def test_resume_may_bring_a_new_name() -> None:
    world = World()
    ada, bob = world.client("Ada", "R"), world.client("Bob", "R")
    ada.name = "Countess"
    world.resume(ada)
    assert presences(bob) == {"Countess": "online", "Bob": "online"}


def test_unknown_token_makes_a_new_terminal() -> None:
    world = World()
    client = Client("Ada")
    world.clients.append(client)
    world.hello(client, resume="never seen", id="h")
    welcome, error = client.log
    assert not welcome.resumed
    assert (error.code, error.re) == (ErrorCode.RESUME_REFUSED, "h")


def test_token_of_one_who_said_bye_is_worth_nothing() -> None:
    world = World()
    ada = world.client("Ada", "R")
    former = ada.terminal
    world.send(ada, Bye())
    assert ada.connection is None
    world.resume(ada)
    assert ada.terminal != former
    assert ada.errors == ["resume_refused"]


def test_bye_ends_everything_at_once() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    world.publish(ada)
    world.send(ada, Bye())
    assert not worker.drivers
    assert bob.last(CallEnded).reason == "alone"
    assert bob.room is not None
    assert len(bob.room.members) == 1


def test_worker_lost_while_away_is_told_at_resume() -> None:
    world = World()
    worker = world.worker()
    ada = world.client("Ada", "R")
    world.publish(ada)
    world.lose(ada)
    world.lose_worker(worker)
    world.pass_time(4)
    assert not ada.all(WorkerGone)
    world.resume(ada)
    assert len(ada.all(WorkerGone)) == 1
    world.resume(ada)
    assert len(ada.all(WorkerGone)) == 1


def test_camera_and_microphone_are_shown_to_the_room_once() -> None:
    world = World()
    ada, bob = world.client("Ada", "R"), world.client("Bob", "R")
    world.send(ada, SetMedia(camera=False, microphone=True))
    assert bob.room is not None
    assert [(m.camera, m.microphone) for m in bob.room.members] == [(False, True), (True, True)]
    states = len(bob.all(RoomState))
    world.send(ada, SetMedia(camera=False, microphone=True))
    assert len(bob.all(RoomState)) == states


def test_a_full_service_refuses_new_terminals_but_not_old_ones() -> None:
    world = World(max_terminals=2)
    ada = world.client("Ada", "R")
    world.client("Bob", "R")
    error, close = done(world.board.receive(900, Hello(name="Eve"), world.now))
    assert error.message.code is ErrorCode.RATE_LIMITED
    assert isinstance(close, Close)
    world.lose(ada)
    world.resume(ada)
    assert ada.last(Welcome).resumed


def test_shutting_down_tells_everybody() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    effects = world.board.shut_down()
    told = [(e.connection, e.message) for e in effects if isinstance(e, Send)]
    for client in (ada, bob):
        ended, error = [m for c, m in told if c == client.connection]
        assert isinstance(ended, CallEnded)
        assert ended.reason == "shutting_down"
        assert isinstance(error, Error)
        assert error.code is ErrorCode.SHUTTING_DOWN
    closed = {e.connection for e in effects if isinstance(e, Close)}
    assert closed == {ada.connection, bob.connection, worker.connection}
