"""Media sessions: which worker serves whom, and who gets whose connection information."""

from __future__ import annotations

from typing import Any

import pytest

from signaling.protocol import (
    CloseMedia,
    DriverGone,
    DriverReact,
    DriverRecalibrate,
    DriverUpdate,
    Error,
    ErrorCode,
    IceCandidate,
    JoinRoom,
    LeaveCall,
    LeaveRoom,
    MediaChannel,
    MediaReply,
    MediaSignal,
    MediaStats,
    MediaStatus,
    React,
    Recalibrate,
    RequestRelay,
    SelectTarget,
    SessionClose,
    SessionDescription,
    SessionSignal,
    SetMedia,
    WorkerError,
    WorkerGone,
    WorkerLoad,
    WorkerSignal,
    WorkerStats,
    WorkerStatus,
)
from signaling.vocabulary import DriverState
from tests.unit.signaling.calling import accept, call
from tests.unit.signaling.world import Client, FakeWorker, World, offer

ANSWER = SessionDescription(type="answer", sdp="v=0 answer")


def candidate(channel: MediaChannel, session: str, peer: str | None = None) -> MediaSignal:
    return MediaSignal(
        channel=channel, session=session, peer=peer, candidate=IceCandidate(candidate="candidate:1")
    )


def served(world: World, client: Client) -> str | None:
    """The worker that the client's terminal has."""
    worker = world.board.state.terminals[client.terminal].worker
    return None if worker is None else worker.id


def load(world: World, worker: FakeWorker, load: float = 0.0, draining: bool = False) -> None:
    world.say(worker, WorkerLoad(drivers=0, load=load, draining=draining))


def status(world: World, worker: FakeWorker, client: Client, state: DriverState) -> None:
    world.say(worker, WorkerStatus(terminal=client.terminal, state=state))


# ---------------------------------------------------------------- publishing


def test_publishing_in_the_lobby() -> None:
    world = World()
    worker = world.worker()
    ada = world.client("Ada")
    world.send(ada, SelectTarget(target="astronaut"))
    assert not worker.drivers
    world.publish(ada)
    update, signal = worker.log[-2:]
    assert update == DriverUpdate(
        terminal=ada.terminal, name="Ada", target="astronaut", camera=True, microphone=True, viewers=[]
    )
    assert isinstance(signal, SessionSignal)
    assert signal.description == SessionDescription(type="offer", sdp="v=0 p1")
    world.send(ada, candidate("publish", "p1"))
    assert worker.log[-1].candidate.candidate == "candidate:1"
    world.say(
        worker, WorkerSignal(terminal=ada.terminal, session="p1", channel="publish", description=ANSWER)
    )
    assert ada.last(MediaReply).description == ANSWER


def test_worker_hears_of_each_change() -> None:
    world = World()
    worker = world.worker()
    ada = world.client("Ada")
    world.publish(ada)
    world.send(ada, SelectTarget(target="t2"))
    world.send(ada, SetMedia(camera=False, microphone=False))
    assert (worker.log[-2].target, worker.log[-2].camera) == ("t2", True)
    assert (worker.log[-1].target, worker.log[-1].camera, worker.log[-1].microphone) == ("t2", False, False)
    count = len(worker.log)
    world.send(ada, SelectTarget(target="t2"))
    assert len(worker.log) == count, "nothing changed, nothing told"


def test_viewers_are_the_other_members_of_the_reenacted_call_alone() -> None:
    world = World()
    worker = world.worker()
    ada, bob, eve = (world.client(room="R") for _ in range(3))
    world.publish(ada)
    world.send(ada, RequestRelay(kind="text"))
    accept(world, eve)
    world.send(ada, RequestRelay(mode="direct", to=[eve.terminal]))
    accept(world, eve)
    assert worker.drivers[ada.terminal].viewers == []
    world.send(ada, RequestRelay(to=[bob.terminal]))
    accept(world, bob)
    assert worker.drivers[ada.terminal].viewers == [bob.terminal]
    (shared,) = [c for c, state in bob.calls.items() if state.kind == "video"]
    world.send(bob, LeaveCall(call=shared))
    assert worker.drivers[ada.terminal].viewers == []


def test_a_new_publish_session_replaces_the_former() -> None:
    world = World()
    worker = world.worker()
    ada = world.client()
    world.publish(ada, "p1")
    world.publish(ada, "p2")
    assert worker.log[-2:] == [
        SessionClose(terminal=ada.terminal, session="p1"),
        SessionSignal(
            terminal=ada.terminal,
            session="p2",
            channel="publish",
            description=SessionDescription(type="offer", sdp="v=0 p2"),
        ),
    ]
    world.say(
        worker, WorkerSignal(terminal=ada.terminal, session="p1", channel="publish", description=ANSWER)
    )
    assert ada.last(MediaReply) is None, "a straggler of the former session"


def test_a_session_is_negotiated_once() -> None:
    world = World()
    world.worker()
    ada = world.client()
    world.publish(ada)
    world.publish(ada)
    assert (ada.errors, ada.last(Error).session) == (["out_of_order"], "p1")


def test_a_candidate_needs_its_offer() -> None:
    world = World()
    world.worker()
    ada = world.client()
    world.send(ada, candidate("publish", "p1"))
    assert (ada.errors, ada.last(Error).session) == (["out_of_order"], "p1")


def test_closing_gives_the_place_back() -> None:
    world = World()
    worker = world.worker(capacity=1)
    ada, bob = world.client(), world.client()
    world.publish(ada)
    world.publish(bob)
    assert bob.errors == ["worker_busy"]
    world.send(ada, CloseMedia(session="p1"))
    assert worker.log[-2:] == [
        SessionClose(terminal=ada.terminal, session="p1"),
        DriverGone(terminal=ada.terminal),
    ]
    world.send(ada, CloseMedia(session="p1"))  # once more does no harm
    assert not ada.errors
    world.publish(bob)
    assert served(world, bob) == "w1"


def test_who_seems_to_be_gone_makes_room() -> None:
    """A closed tab: away, and no pictures from its camera. Either alone may be a call that goes on."""
    world = World()
    worker = world.worker(capacity=2)
    ada, bob, eve, joe = (world.client() for _ in range(4))
    world.publish(ada)
    world.publish(bob)
    load(world, worker, 1.0)
    status(world, worker, ada, "live")
    status(world, worker, bob, "no_video")
    world.lose(ada)
    world.publish(eve)
    assert eve.errors == ["worker_busy"], "ada's pictures still come, and bob is there"
    status(world, worker, ada, "no_video")
    world.publish(eve)
    assert (len(eve.errors), served(world, eve), served(world, bob)) == (1, "w1", "w1")
    assert DriverGone(terminal=ada.terminal) in worker.log
    world.publish(joe)
    assert joe.errors == ["worker_busy"], "one place was free, and is taken"
    world.resume(ada)
    assert ada.all(WorkerGone), "it has to publish anew"
    world.publish(ada, "p2")
    assert ada.errors == ["worker_busy"]
    world.send(bob, CloseMedia(session="p1"))
    load(world, worker, 0.5)
    world.publish(ada, "p2")
    assert served(world, ada) == "w1"


def test_who_seems_to_be_gone_makes_room_in_a_running_call() -> None:
    world = World()
    worker = world.worker(capacity=2)
    ada, bob, eve = call(world, 3)
    gone = world.client()
    for client in (ada, gone):
        world.publish(client)
    status(world, worker, gone, "no_video")
    world.publish(bob)
    assert bob.errors == ["worker_busy"]
    world.lose(gone)
    world.publish(bob)
    assert (bob.errors[1:], served(world, bob)) == ([], "w1")
    world.publish(eve)
    assert eve.errors == ["worker_busy"]


def test_who_seems_to_be_gone_makes_room_in_a_room_without_a_call() -> None:
    world = World()
    worker = world.worker(capacity=2)
    gone, ada, bob = (world.client() for _ in range(3))
    for client in (ada, bob):
        world.send(client, JoinRoom(room="r"))
    for client in (gone, ada):
        world.publish(client)
    status(world, worker, gone, "no_video")
    world.lose(gone)
    world.publish(bob)
    assert (bob.errors, served(world, bob)) == ([], "w1")


def test_two_who_seem_to_be_gone_do_not_take_each_others_place() -> None:
    """Their peers' pages ask for their pictures again and again."""
    world = World()
    worker = world.worker(capacity=4)
    pairs = [call(world, 2, room=room) for room in ("r", "s")]
    for pair in pairs:
        for client in pair:
            world.publish(client)
            status(world, worker, client, "no_video")
        world.lose(pair[1])
    eve = world.client()
    world.publish(eve)
    assert served(world, eve) == "w1"
    (still_there,) = [pair[1] for pair in pairs if served(world, pair[1]) is not None]
    for there, gone in pairs:
        world.send(there, offer("subscribe", "s2", gone.terminal))
    assert [error for there, _ in pairs for error in there.errors] == ["worker_busy"]
    assert served(world, still_there) == "w1"


def test_recalibrating() -> None:
    world = World()
    worker = world.worker()
    ada = world.client()
    world.send(ada, Recalibrate())
    assert ada.errors == ["out_of_order"]
    world.publish(ada)
    world.send(ada, Recalibrate())
    assert worker.log[-1] == DriverRecalibrate(terminal=ada.terminal)


def test_reacting() -> None:
    world = World()
    worker = world.worker()
    ada = world.client()
    world.send(ada, React(template="happy"))
    assert ada.errors == ["out_of_order"]
    world.publish(ada)
    world.send(ada, React(template="wink-left"))
    assert worker.log[-1] == DriverReact(terminal=ada.terminal, template="wink-left")


# ---------------------------------------------------------------- subscribing


def test_subscribing_within_the_call() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    world.publish(ada)
    world.send(bob, offer("subscribe", "s1", ada.terminal))
    assert worker.drivers[ada.terminal].viewers == [bob.terminal]
    assert (worker.log[-1].terminal, worker.log[-1].peer) == (bob.terminal, ada.terminal)
    world.say(
        worker,
        WorkerSignal(
            terminal=bob.terminal, session="s1", channel="subscribe", peer=ada.terminal, description=ANSWER
        ),
    )
    reply = bob.last(MediaReply)
    assert (reply.channel, reply.peer, reply.session) == ("subscribe", ada.terminal, "s1")


def test_subscribing_to_others_is_refused() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    world.publish(ada)
    eve = world.client(room="R")
    outsider = world.client(room="elsewhere")
    before = len(worker.log)
    for client in (eve, outsider):
        world.send(client, offer("subscribe", "s1", ada.terminal))
        assert (client.errors, client.last(Error).session) == (["peer_unknown"], "s1")
    for peer in (bob.terminal, "nobody", eve.terminal):
        world.send(bob, offer("subscribe", "s1", peer))
    assert bob.errors == ["peer_unknown"] * 3
    assert len(worker.log) == before


@pytest.mark.parametrize("fields", [{"kind": "text"}, {"mode": "direct"}])
def test_only_a_reenacted_video_call_lets_subscribe(fields: Any) -> None:
    world = World()
    world.worker()
    ada, bob = call(world, 2, **fields)
    world.publish(ada)
    world.send(bob, offer("subscribe", "s1", ada.terminal))
    assert bob.errors == ["peer_unknown"]


def test_a_peer_that_shows_nothing_yet_can_be_subscribed_to() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    world.send(ada, offer("subscribe", "s1", bob.terminal))
    assert worker.drivers[bob.terminal].viewers == [ada.terminal]


def test_subscriptions_end_with_the_call() -> None:
    world = World()
    worker = world.worker()
    ada, bob, eve = call(world, 3)
    for client in (ada, bob, eve):
        world.publish(client)
    world.send(ada, offer("subscribe", "s1", bob.terminal))
    world.send(ada, offer("subscribe", "s2", eve.terminal))
    world.send(bob, offer("subscribe", "s1", ada.terminal))
    (shared,) = bob.calls
    world.send(bob, LeaveCall(call=shared))
    assert set(worker.sessions) == {
        (ada.terminal, "p1"),
        (bob.terminal, "p1"),
        (eve.terminal, "p1"),
        (ada.terminal, "s2"),
    }
    assert worker.drivers[bob.terminal].viewers == []


def test_leaving_keeps_the_own_preview() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    world.publish(ada)
    world.send(ada, offer("subscribe", "s1", bob.terminal))
    world.send(ada, LeaveRoom())
    assert set(worker.sessions) == {(ada.terminal, "p1")}
    assert set(worker.drivers) == {ada.terminal}, "bob held a place only because ada looked at him"


# ---------------------------------------------------------------- direct calls


def test_direct_connection_information_goes_to_the_peer_alone() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2, mode="direct")
    eve = world.client(room="R")
    count = len(eve.log)
    world.send(ada, offer("direct", "d1", bob.terminal))
    assert bob.last(MediaReply).peer == ada.terminal
    world.send(
        bob, MediaSignal(channel="direct", session="d1", peer=ada.terminal, description=ANSWER, id="x")
    )
    assert ada.last(MediaReply).description == ANSWER
    world.send(bob, candidate("direct", "d1", ada.terminal))
    assert ada.last(MediaReply).candidate.candidate == "candidate:1"
    assert len(eve.log) == count
    assert [type(m).__name__ for m in worker.log] == ["WorkerWelcome"]


def test_direct_needs_a_direct_call_with_that_peer() -> None:
    world = World()
    ada, bob = call(world, 2)
    world.send(ada, offer("direct", "d1", bob.terminal))
    assert (ada.errors, bob.last(MediaReply)) == (["peer_unknown"], None)
    world.send(ada, RequestRelay(mode="direct"))
    accept(world, bob)
    eve = world.client(room="R")
    for sender, peer in ((eve, ada), (ada, eve), (ada, ada)):
        world.send(sender, offer("direct", "d1", peer.terminal))
        assert sender.errors[-1] == "peer_unknown"
        assert peer.last(MediaReply) is None


# ---------------------------------------------------------------- reports of the worker


def test_status_and_figures_go_to_the_terminal_and_its_call() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    eve = world.client(room="R")
    world.publish(ada)
    world.say(worker, WorkerStatus(terminal=ada.terminal, state="no_face", detail="No face is seen."))
    world.say(
        worker, WorkerStats(terminal=ada.terminal, generator="g", fps=30, frame_ms=9, age_ms=20, size=256)
    )
    for client in (ada, bob):
        assert client.last(MediaStatus).state == "no_face"
        assert client.last(MediaStats).fps == 30
    assert eve.last(MediaStatus) is None
    # Who comes later is told how it stands.
    world.send(eve, RequestRelay())
    accept(world, ada)
    assert eve.last(MediaStatus).detail == "No face is seen."


def test_errors_go_to_the_terminal_alone() -> None:
    world = World()
    worker = world.worker()
    ada, bob = call(world, 2)
    world.publish(ada)
    fault = WorkerError(terminal=ada.terminal, code=ErrorCode.MEDIA_FAILED, message="No.", session="p1")
    world.say(worker, fault)
    world.say(worker, fault.model_copy(update={"session": "of long ago"}))
    assert (ada.errors, ada.last(Error).session) == (["media_failed"], "p1")
    assert not bob.errors


def test_a_worker_speaks_only_for_its_own_terminals() -> None:
    world = World()
    world.worker("w1")
    ada, bob = call(world, 2)
    world.publish(ada)
    other = world.worker("w2")
    world.say(other, WorkerStatus(terminal=ada.terminal, state="failed"))
    world.say(other, WorkerSignal(terminal=ada.terminal, session="p1", channel="publish", description=ANSWER))
    assert ada.last(MediaStatus) is ada.last(MediaReply) is bob.last(MediaStatus) is None


# ---------------------------------------------------------------- choosing a worker


def test_without_a_worker() -> None:
    world = World()
    ada = world.client()
    world.publish(ada)
    assert (ada.errors, ada.last(Error).session) == (["worker_unavailable"], "p1")


def test_the_least_loaded_that_takes_any() -> None:
    world = World()
    workers = [world.worker(f"w{n}", capacity=4) for n in range(4)]
    load(world, workers[0], 0.2, draining=True)
    load(world, workers[1], 1.0)
    load(world, workers[2], 0.6)
    load(world, workers[3], 0.5)
    ada, bob, eve = (world.client() for _ in range(3))
    for client in (ada, bob, eve):
        world.publish(client)
    # Places given out since the last report count: the third is better off elsewhere.
    assert [served(world, c) for c in (ada, bob, eve)] == ["w3", "w3", "w3"]
    kim = world.client()
    world.publish(kim)
    assert served(world, kim) == "w2"


def test_members_of_a_room_share_a_worker() -> None:
    world = World()
    world.worker("w1")
    ada, bob = world.client(room="R"), world.client(room="R")
    world.publish(ada)
    world.worker("w2")
    world.publish(bob)
    assert served(world, ada) == served(world, bob) == "w1"


def test_entering_a_room_whose_call_is_on_another_worker() -> None:
    world = World()
    first = world.worker("w1")
    ada = world.client(room="R")
    world.publish(ada)
    load(world, first, 0.5)
    second = world.worker("w2")
    bob = world.client()
    world.publish(bob)
    assert served(world, bob) == "w2"
    world.send(bob, JoinRoom(room="R"))
    assert len(bob.all(WorkerGone)) == 1
    assert not ada.all(WorkerGone)
    assert not second.drivers
    world.publish(bob, "p2")
    assert served(world, bob) == "w1"


def test_a_call_goes_on_at_a_draining_worker_but_a_new_one_does_not_start_there() -> None:
    world = World()
    first = world.worker("w1")
    ada, bob = call(world, 2, room="calling")
    world.publish(ada)
    waiting = world.client(room="waiting")
    world.publish(waiting)
    load(world, first, 0.1, draining=True)
    world.worker("w2")
    world.publish(bob)
    assert served(world, bob) == "w1"
    newcomer = world.client(room="waiting")
    world.publish(newcomer)
    assert served(world, newcomer) == "w2"
    assert waiting.all(WorkerGone), "it follows to the worker where the call can be"
    world.publish(waiting, "p2")
    assert served(world, waiting) == "w2"


def test_a_full_worker_of_a_running_call_says_so() -> None:
    world = World()
    world.worker("w1", capacity=1)
    ada, bob = call(world, 2)
    world.publish(ada)
    world.worker("w2")
    world.publish(bob)
    assert bob.errors == ["worker_busy"]
    assert served(world, ada) == "w1"
