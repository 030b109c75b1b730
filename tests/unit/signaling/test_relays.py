"""Rooms, relay requests and calls: who is asked, who may answer, what it leads to."""

from __future__ import annotations

from typing import Any

import pytest

from signaling.protocol import (
    AcceptRelay,
    CallEnded,
    CallState,
    CancelRelay,
    CreateRoom,
    DeclineRelay,
    JoinRoom,
    LeaveCall,
    LeaveRoom,
    RelayState,
    RequestRelay,
    RoomLeft,
    RoomState,
    SendText,
    Text,
)
from tests.unit.signaling.calling import accept, call
from tests.unit.signaling.world import Client, World, texts


def reasons(client: Client) -> list[str]:
    """Why requests ended, as the client was told."""
    return [m.reason for m in client.all(RelayState) if m.state == "closed"]


def ask(world: World, client: Client, **fields: Any) -> list[Any]:
    return world.send(client, RequestRelay(id="q", **fields))


def members(client: Client) -> set[str]:
    (state,) = client.calls.values()
    return {m.terminal for m in state.members}


# ---------------------------------------------------------------- rooms


def test_room_by_link() -> None:
    world = World()
    ada = world.client("Ada")
    (state,) = world.send(ada, CreateRoom(id="c"))
    assert isinstance(state, RoomState)
    assert state.re == "c"
    bob = world.client("Bob")
    (seen,) = world.send(bob, JoinRoom(room=state.room, id="j"))
    assert seen.re == "j"
    assert [m.name for m in seen.members] == ["Ada", "Bob"]
    assert ada.last(RoomState).re is None
    assert ada.room is not None
    assert ada.room.members == seen.members


def test_room_is_full_and_the_old_one_kept() -> None:
    world = World(room_capacity=2)
    for _ in range(2):
        world.client(room="full")
    ada = world.client("Ada", "old")
    world.send(ada, JoinRoom(room="full", id="j"))
    assert ada.errors == ["room_full"]
    assert ada.room is not None
    assert ada.room.room == "old"


def test_entering_a_room_leaves_the_other() -> None:
    world = World()
    ada, bob = call(world, 2, room="one")
    sent = world.send(ada, JoinRoom(room="two"))
    assert [type(m) for m in sent] == [CallEnded, RoomLeft, RoomState]
    assert bob.last(CallEnded).reason == "alone"
    assert set(world.board.state.rooms) == {"one", "two"}


def test_leaving_without_a_room_is_out_of_order() -> None:
    world = World()
    ada = world.client()
    world.send(ada, LeaveRoom())
    assert ada.errors == ["out_of_order"]


def test_an_empty_room_is_forgotten() -> None:
    world = World()
    ada = world.client(room="R")
    world.send(ada, LeaveRoom(id="l"))
    assert ada.last(RoomLeft).re == "l"
    assert not world.board.state.rooms


# ---------------------------------------------------------------- requests


def test_accept_starts_a_call() -> None:
    world = World()
    ada, bob = world.client("Ada", "R"), world.client("Bob", "R")
    (pending,) = ask(world, ada)
    assert (pending.re, pending.state) == ("q", "pending")
    (incoming,) = bob.incoming.values()
    assert (incoming.sender, incoming.name, incoming.expires_s) == (ada.terminal, "Ada", 45.0)
    sent = world.send(bob, AcceptRelay(request=pending.request, id="a"))
    assert (sent[0].re, sent[0].state, sent[0].by) == ("a", "accepted", bob.terminal)
    assert sent[0].call in bob.calls
    assert reasons(ada) == reasons(bob) == ["answered"]
    assert members(ada) == {ada.terminal, bob.terminal}


def test_decline() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada)
    (request,) = bob.asked
    world.send(bob, DeclineRelay(request=request, id="d"))
    declined = [m for m in ada.all(RelayState) if m.state == "declined"]
    assert [m.by for m in declined] == [bob.terminal]
    assert reasons(ada) == reasons(bob) == ["answered"]
    assert not ada.calls


def test_cancel() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada)
    (request,) = ada.own
    world.send(bob, CancelRelay(request=request))
    assert bob.errors == ["request_unknown"]
    (closed,) = world.send(ada, CancelRelay(request=request, id="c"))
    assert (closed.re, closed.reason) == ("c", "cancelled")
    assert reasons(bob) == ["cancelled"]
    world.send(bob, AcceptRelay(request=request))
    assert bob.errors[-1] == "request_unknown"


def test_ringing_ends() -> None:
    world = World()
    ada, bob, eve = (world.client(room="R") for _ in range(3))
    ask(world, ada)
    accept(world, bob)
    world.pass_time(44)
    assert reasons(ada) == []
    world.pass_time(1)
    assert reasons(ada) == reasons(bob) == reasons(eve) == ["timed_out"]
    assert members(ada) == {ada.terminal, bob.terminal}


def test_sender_leaves() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada)
    world.send(ada, LeaveRoom())
    assert reasons(ada) == reasons(bob) == ["sender_left"]


def test_the_asked_leave() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada)
    world.send(bob, LeaveRoom())
    assert reasons(ada) == reasons(bob) == ["nobody_left"]


def test_one_declines_and_the_other_leaves() -> None:
    world = World()
    ada, bob, eve = (world.client(room="R") for _ in range(3))
    ask(world, ada)
    (request,) = bob.asked
    world.send(bob, DeclineRelay(request=request))
    world.send(eve, LeaveRoom())
    assert reasons(ada) == ["answered"]


@pytest.mark.parametrize("answer", [AcceptRelay, DeclineRelay])
def test_an_answer_is_given_once(answer: Any) -> None:
    world = World()
    ada, bob, _ = (world.client(room="R") for _ in range(3))
    ask(world, ada)
    (request,) = bob.asked
    world.send(bob, DeclineRelay(request=request))
    world.send(bob, answer(request=request))
    assert bob.errors == ["out_of_order"]


def test_nobody_answers_for_another() -> None:
    world = World()
    ada, bob, eve = (world.client(room="R") for _ in range(3))
    outsider = world.client(room="elsewhere")
    ask(world, ada, to=[bob.terminal])
    (request,) = bob.asked
    for client in (ada, eve, outsider):
        world.send(client, AcceptRelay(request=request))
        assert client.errors == ["request_unknown"]


def test_asking_those_outside_the_room() -> None:
    world = World()
    ada = world.client(room="R")
    ask(world, ada)
    assert ada.errors == ["out_of_order"]  # nobody is there
    bob = world.client(room="elsewhere")
    for terminal in (bob.terminal, "nobody", ada.terminal):
        ask(world, ada, to=[terminal])
        assert ada.errors[-1] == "peer_unknown"
    world.send(ada, LeaveRoom())
    ask(world, ada)
    assert ada.errors[-1] == "out_of_order"
    assert not bob.log[3:]


def test_requests_that_cross_are_one_call() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada)
    (accepted, *rest) = ask(world, bob)
    assert (accepted.re, accepted.state, accepted.by) == ("q", "accepted", bob.terminal)
    assert [m.state for m in rest if isinstance(m, RelayState)] == ["closed"]
    assert members(ada) == members(bob) == {ada.terminal, bob.terminal}
    assert reasons(ada) == ["answered"]
    assert not bob.own


def test_three_pages_that_ask_all_at_once_are_one_call() -> None:
    world = World()
    clients = [world.client(room="R") for _ in range(3)]
    for client in clients:
        ask(world, client)
    for client in clients:
        accept(world, client)
    everybody = {client.terminal for client in clients}
    assert all(members(client) == everybody for client in clients)
    assert not any(client.own or client.asked for client in clients)


def test_crossing_requests_of_another_kind_or_mode_do_not_meet() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada, kind="video", mode="reenacted")
    ask(world, bob, kind="video", mode="direct")
    ask(world, bob, kind="text")
    assert not ada.calls
    assert len(bob.own) == 2


def test_asking_again_while_it_rings_does_not_ring_twice() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada)
    (again,) = ask(world, ada)
    assert {again.request} == ada.own
    assert again.state == "pending"
    eve = world.client(room="R")
    ask(world, ada)
    assert len(ada.own) == 2
    assert len(bob.asked) == 1
    assert len(eve.asked) == 1


def test_one_in_the_call_asks_only_those_who_are_not() -> None:
    world = World()
    ada, bob = call(world, 2)
    ask(world, ada)
    assert ada.errors == ["out_of_order"]
    eve = world.client(room="R")
    ask(world, ada)
    assert not bob.asked
    accept(world, eve)
    assert members(bob) == {ada.terminal, bob.terminal, eve.terminal}


def test_any_member_lets_a_newcomer_in_and_the_others_stop_ringing() -> None:
    world = World()
    ada, bob = call(world, 2)
    eve = world.client(room="R")
    ask(world, eve)
    accept(world, bob)
    assert members(ada) == {ada.terminal, bob.terminal, eve.terminal}
    assert reasons(ada)[-1] == reasons(eve)[-1] == "answered"
    assert not ada.asked


def test_who_stopped_ringing_cannot_answer_any_more() -> None:
    world = World()
    ada, bob = call(world, 2)
    eve, kim = world.client(room="R"), world.client(room="R")
    ask(world, eve)
    (request,) = bob.asked
    accept(world, ada)
    assert kim.asked, "the request still rings elsewhere"
    world.send(bob, AcceptRelay(request=request))
    assert bob.errors == ["request_unknown"]


def test_a_call_that_begins_and_ends_in_the_same_moment_is_told_in_order() -> None:
    world = World()
    ada, _ = call(world, 2)
    eve, kim = world.client(room="R"), world.client(room="R")
    ask(world, eve, to=[kim.terminal])
    accept(world, kim)
    world.lose(ada)
    world.lose(kim)
    # Both are given up at once: ada's end lets eve and kim meet, kim's ends that again.
    world.pass_time(31)
    last_two = [m for m in eve.log if isinstance(m, CallState | CallEnded)][-2:]
    assert [type(m) for m in last_two] == [CallState, CallEnded]
    assert last_two[1].reason == "peer_vanished"


def test_acceptance_of_one_outside_waits_until_a_member_lets_the_sender_in() -> None:
    world = World()
    ada, bob = call(world, 2)
    eve, kim = world.client(room="R"), world.client(room="R")
    ask(world, eve)
    accept(world, kim)
    assert not eve.calls
    assert not kim.calls
    accept(world, ada)
    assert members(bob) == {c.terminal for c in (ada, bob, eve, kim)}


def test_waiting_acceptances_meet_when_the_call_ends() -> None:
    world = World()
    ada, bob = call(world, 2)
    eve, kim = world.client(room="R"), world.client(room="R")
    ask(world, eve, to=[kim.terminal])
    accept(world, kim)
    assert not kim.calls
    (old,) = ada.calls
    world.send(ada, LeaveCall(call=old))
    assert bob.last(CallEnded).reason == "alone"
    assert members(kim) == {eve.terminal, kim.terminal}


def test_a_waiting_acceptance_can_be_taken_back() -> None:
    world = World()
    call(world, 2)
    eve, kim = world.client(room="R"), world.client(room="R")
    ask(world, eve, to=[kim.terminal])
    accept(world, kim)
    (request,) = kim.asked
    world.send(kim, DeclineRelay(request=request))
    assert reasons(eve) == ["answered"]


def test_hanging_up_stops_the_ringing() -> None:
    world = World()
    ada, bob, eve = (world.client(room="R") for _ in range(3))
    ask(world, ada)
    accept(world, bob)
    (call_id,) = ada.calls
    (_, ended) = world.send(ada, LeaveCall(call=call_id, id="l"))
    assert (ended.re, ended.reason) == ("l", "left")
    assert reasons(ada) == reasons(eve) == ["cancelled"]


def test_leaving_a_call_that_one_is_not_in() -> None:
    world = World()
    ada, _ = call(world, 2)
    eve = world.client(room="R")
    (call_id,) = ada.calls
    world.send(eve, LeaveCall(call=call_id))
    assert eve.errors == ["call_unknown"]


def test_who_entered_anew_is_not_bound_by_what_was_before() -> None:
    world = World()
    ada, bob, _ = (world.client(room="R") for _ in range(3))
    ask(world, ada)
    (request,) = bob.asked
    world.send(bob, LeaveRoom())
    world.send(bob, JoinRoom(room="R"))
    world.send(bob, AcceptRelay(request=request))
    assert bob.errors == ["request_unknown"]


# ---------------------------------------------------------------- direct calls


def test_direct_must_be_accepted_as_direct() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada, mode="direct")
    (request,) = bob.asked
    world.send(bob, AcceptRelay(request=request))
    assert bob.errors == ["mode_mismatch"]
    assert not bob.calls
    world.send(bob, AcceptRelay(request=request, mode="direct"))
    (state,) = bob.calls.values()
    assert state.mode == "direct"


def test_reenacted_is_not_accepted_as_direct() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada)
    (request,) = bob.asked
    world.send(bob, AcceptRelay(request=request, mode="direct"))
    assert bob.errors == ["mode_mismatch"]
    assert not ada.calls


def test_direct_is_between_two() -> None:
    world = World()
    ada, bob, eve = (world.client(room="R") for _ in range(3))
    ask(world, ada, mode="direct")
    assert ada.errors == ["mode_mismatch"]
    ask(world, ada, mode="direct", to=[bob.terminal])
    ask(world, eve, mode="direct", to=[bob.terminal])
    accept_as_direct = next(iter(bob.asked))
    world.send(bob, AcceptRelay(request=accept_as_direct, mode="direct"))
    assert members(bob) == {ada.terminal, bob.terminal}
    assert reasons(eve) == ["answered"]  # declined: bob is taken
    ask(world, eve, mode="direct", to=[bob.terminal])
    assert eve.errors == ["out_of_order"]


def test_direct_requests_that_cross_are_consent_of_both() -> None:
    world = World()
    ada, bob = world.client(room="R"), world.client(room="R")
    ask(world, ada, mode="direct")
    ask(world, bob, mode="direct")
    assert members(ada) == members(bob)
    (state,) = ada.calls.values()
    assert state.mode == "direct"


def test_direct_and_reenacted_calls_stand_beside_each_other() -> None:
    world = World()
    ada, bob, eve = call(world, 3)
    ask(world, ada, mode="direct", to=[bob.terminal])
    accept(world, bob)
    assert {state.mode for state in ada.calls.values()} == {"reenacted", "direct"}
    assert {state.mode for state in eve.calls.values()} == {"reenacted"}
    direct = next(c for c, state in ada.calls.items() if state.mode == "direct")
    world.send(ada, LeaveCall(call=direct))
    assert len(bob.calls) == 1
    assert members(bob) == {ada.terminal, bob.terminal, eve.terminal}


def test_text_calls_have_no_direct_mode() -> None:
    world = World()
    ada, _ = world.client(room="R"), world.client(room="R")
    ask(world, ada, kind="text", mode="direct")
    assert ada.errors == ["mode_mismatch"]


# ---------------------------------------------------------------- texts


def test_texts_stay_within_the_call() -> None:
    world = World()
    ada, bob = call(world, 2, kind="text")
    eve = world.client(room="R")
    world.send(ada, SendText(text="hello"))
    assert texts(bob) == ["hello"]
    assert bob.last(Text).at == pytest.approx(1e9 + world.now)
    assert texts(eve) == texts(ada) == []
    world.send(eve, SendText(text="let me in"))
    assert eve.errors == ["out_of_order"]
    world.send(ada, SendText(text="psst", to=eve.terminal))
    assert ada.errors == ["peer_unknown"]


def test_texts_to_one() -> None:
    world = World()
    ada, bob, eve = call(world, 3)
    world.send(ada, SendText(text="psst", to=bob.terminal))
    assert texts(bob) == ["psst"]
    assert bob.last(Text).private
    assert texts(eve) == []


def test_a_text_with_an_id_comes_back_as_receipt() -> None:
    world = World()
    ada, bob = call(world, 2)
    (receipt,) = world.send(ada, SendText(text="hello", id="t"))
    assert (receipt.re, receipt.text, receipt.sender) == ("t", "hello", ada.terminal)
    assert bob.last(Text).re is None


def test_texts_missed_while_away_are_bounded() -> None:
    world = World()
    ada, bob = call(world, 2)
    world.lose(bob)
    for number in range(120):
        world.send(ada, SendText(text=str(number)))
    world.resume(bob)
    assert texts(bob) == [str(number) for number in range(20, 120)]
