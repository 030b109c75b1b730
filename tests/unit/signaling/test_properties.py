"""No sequence of messages, lost connections, resumes, worker losses and passing time breaks the house rules.

The rules are in :meth:`World.check`, which runs after every event.
"""

from __future__ import annotations

from inspect import signature
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from signaling.protocol import (
    AcceptRelay,
    Bye,
    CancelRelay,
    CloseMedia,
    CreateRoom,
    DeclineRelay,
    ErrorCode,
    IceCandidate,
    JoinRoom,
    LeaveCall,
    LeaveRoom,
    MediaReply,
    MediaSignal,
    React,
    Recalibrate,
    RequestRelay,
    SelectTarget,
    SendText,
    SessionDescription,
    SetMedia,
    Text,
    WorkerError,
    WorkerLoad,
    WorkerSignal,
    WorkerStats,
    WorkerStatus,
)
from tests.unit.signaling.world import Client, FakeWorker, World, offer

INDEX = st.integers(0, 11)
KINDS = st.sampled_from(["video", "video", "text"])
MODES = st.sampled_from(["reenacted", "reenacted", "direct"])
SESSIONS = st.sampled_from(["s1", "s2", "s3"])


class SignalingMachine(RuleBasedStateMachine):
    """Random life of up to six clients and two workers."""

    @initialize()
    def start(self) -> None:
        self.world = World(room_capacity=4)
        self.world.worker("w1", capacity=3)
        for _ in range(3):
            self.world.client(room="R1")

    # ------------------------------------------------------------ picking

    def connected(self) -> list[Client]:
        present = self.world.board.state.by_connection
        return [client for client in self.world.clients if client.connection in present]

    def one(self, index: int) -> Client:
        clients = self.connected()
        return clients[index % len(clients)]

    def some(self, having: str, index: int) -> Client:
        """A connected client with something (``room``, ``calls``, ``asked``), else any."""
        clients = [client for client in self.connected() if getattr(client, having)] or self.connected()
        return clients[index % len(clients)]

    def terminal(self, index: int) -> str:
        """A terminal's id: of somebody, present or former, anywhere."""
        known = [client.terminal for client in self.world.clients]
        return known[index % len(known)] if index < 11 else "nobody"

    def request(self, client: Client, index: int) -> str:
        """A request's id: most often one that rings for the client or is its own."""
        near = [*client.asked, *client.own]
        if near and index < 9:
            return near[index % len(near)]
        state = self.world.board.state
        every = [r for room in state.rooms.values() for r in room.requests]
        return every[index % len(every)] if every else "none"

    def worker(self, index: int) -> FakeWorker | None:
        present = [w for w in self.world.workers.values() if w.connection is not None]
        return present[index % len(present)] if present else None

    # ------------------------------------------------------------ clients come and go

    @rule(room=st.sampled_from(["R1", "R1", "R2", None]))
    def come(self, room: str | None) -> None:
        if len(self.connected()) < 6:
            self.world.client(room=room)

    @precondition(lambda self: self.connected())
    @rule(index=INDEX)
    def lose(self, index: int) -> None:
        self.world.lose(self.one(index))

    @rule(index=INDEX, rename=st.booleans())
    def come_back(self, index: int, rename: bool) -> None:
        """With the token of a lost, a gone or a still connected terminal."""
        client = self.world.clients[index % len(self.world.clients)]
        if rename:
            client.name += "!"
        known = client.token in self.world.board.state.by_token
        self.world.resume(client)
        assert (client.errors[-1:] == ["resume_refused"]) is not known or known

    @precondition(lambda self: self.connected())
    @rule(index=INDEX)
    def say_bye(self, index: int) -> None:
        client = self.one(index)
        self.world.send(client, Bye())
        assert client.terminal not in self.world.board.state.terminals

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.0, 20.0, 31.0, 46.0]), silent=st.sets(INDEX, max_size=3))
    def time_passes(self, seconds: float, silent: set[int]) -> None:
        clients = self.connected()
        quiet = [clients[i % len(clients)] for i in silent] if clients else []
        self.world.pass_time(seconds, tuple(quiet), step=0.5 if seconds < 5 else 2.0)

    # ------------------------------------------------------------ rooms and requests

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, room=st.sampled_from(["R1", "R2"]))
    def join(self, index: int, room: str) -> None:
        self.world.send(self.one(index), JoinRoom(room=room))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX)
    def create(self, index: int) -> None:
        self.world.send(self.one(index), CreateRoom())

    @precondition(lambda self: self.connected())
    @rule(index=INDEX)
    def leave(self, index: int) -> None:
        self.world.send(self.one(index), LeaveRoom())

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, kind=KINDS, mode=MODES, to=st.none() | st.lists(INDEX, min_size=1, max_size=2))
    def ask(self, index: int, kind: Any, mode: Any, to: list[int] | None) -> None:
        client = self.some("room", index)
        if client.room is None:
            return
        others = [m.terminal for m in client.room.members if m.terminal != client.terminal]
        named = None if to is None or not others else [others[i % len(others)] for i in to]
        if mode == "direct" and others:
            named = [others[index % len(others)]]
        self.world.send(client, RequestRelay(id="q", kind=kind, mode=mode, to=named))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, kind=KINDS, mode=MODES, to=st.lists(INDEX, max_size=3))
    def ask_wildly(self, index: int, kind: Any, mode: Any, to: list[int]) -> None:
        named = [self.terminal(i) for i in to]
        self.world.send(self.one(index), RequestRelay(kind=kind, mode=mode, to=named))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, which=INDEX, other_mode=st.integers(0, 9))
    def accept(self, index: int, which: int, other_mode: int) -> None:
        client = self.some("asked", index)
        request = self.request(client, which)
        ringing = client.incoming.get(request)
        mode: Any = ringing.mode if ringing is not None else "reenacted"
        if other_mode == 0:
            mode = "direct" if mode == "reenacted" else "reenacted"
        self.world.send(client, AcceptRelay(request=request, mode=mode))

    @rule(order=st.permutations(range(6)), count=st.integers(1, 3))
    def answer_several(self, order: list[int], count: int) -> None:
        """Pages that accept by themselves do so all at once."""
        for index in order:
            for client in [c for i, c in enumerate(self.connected()) if i % 6 == index]:
                for request in [r for r, answer in client.asked.items() if answer == "pending"][:count]:
                    mode = client.incoming[request].mode
                    self.world.send(client, AcceptRelay(request=request, mode=mode))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, which=INDEX)
    def decline(self, index: int, which: int) -> None:
        client = self.some("asked", index)
        self.world.send(client, DeclineRelay(request=self.request(client, which)))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, which=INDEX)
    def cancel(self, index: int, which: int) -> None:
        client = self.some("own", index)
        self.world.send(client, CancelRelay(request=self.request(client, which)))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, which=INDEX)
    def hang_up(self, index: int, which: int) -> None:
        client = self.some("calls", index)
        call = list(client.calls)[which % len(client.calls)] if client.calls else "none"
        self.world.send(client, LeaveCall(call=call))
        assert call not in client.calls

    # ------------------------------------------------------------ in a call

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, to=st.none() | INDEX)
    def text(self, index: int, to: int | None) -> None:
        sender = self.some("calls", index)
        partners = {m.terminal for call in sender.calls.values() for m in call.members} - {sender.terminal}
        before = {client: len(client.all(Text)) for client in self.world.clients}
        named = None if to is None else self.terminal(to)
        self.world.send(sender, SendText(text="hello", to=named))
        got = {client.terminal for client in self.connected() if len(client.all(Text)) > before[client]}
        assert got <= partners
        if named is None:
            assert got == partners & {client.terminal for client in self.connected()}

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, camera=st.booleans(), microphone=st.booleans())
    def set_media(self, index: int, camera: bool, microphone: bool) -> None:
        self.world.send(self.one(index), SetMedia(camera=camera, microphone=microphone))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, number=st.integers(0, 2))
    def select(self, index: int, number: int) -> None:
        client = self.one(index)
        target = f"target{number}-of-{client.terminal}" if number else None
        self.world.send(client, SelectTarget(target=target))

    # ------------------------------------------------------------ media

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, session=SESSIONS)
    def publish(self, index: int, session: str) -> None:
        self.world.send(self.one(index), offer("publish", session))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, peer=INDEX, session=SESSIONS)
    def subscribe(self, index: int, peer: int, session: str) -> None:
        client = self.some("calls", index)
        members = [m.terminal for call in client.calls.values() for m in call.members]
        named = members[peer % len(members)] if members else self.terminal(peer)
        self.world.send(client, offer("subscribe", session, named))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, peer=INDEX, session=SESSIONS, kind=st.sampled_from(["offer", "answer", "candidate"]))
    def direct(self, index: int, peer: int, session: str, kind: Any) -> None:
        client = self.some("calls", index)
        members = [m.terminal for call in client.calls.values() for m in call.members]
        named = members[peer % len(members)] if members and peer < 9 else self.terminal(peer)
        before = {other: len(other.all(MediaReply)) for other in self.world.clients}
        signal: dict[str, Any] = (
            {"candidate": IceCandidate(candidate="candidate:1")}
            if kind == "candidate"
            else {"description": SessionDescription(type=kind, sdp="v=0")}
        )
        self.world.send(client, MediaSignal(channel="direct", session=session, peer=named, **signal))
        together = any(
            call.mode == "direct" and named in [m.terminal for m in call.members] and named != client.terminal
            for call in client.calls.values()
        )
        for other in self.connected():
            if other is not client:
                heard = len(other.all(MediaReply)) - before[other]
                assert heard == (1 if together and other.terminal == named else 0)

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, session=SESSIONS)
    def candidate(self, index: int, session: str) -> None:
        signal = MediaSignal(
            channel="publish", session=session, candidate=IceCandidate(candidate="candidate:1")
        )
        self.world.send(self.one(index), signal)

    @precondition(lambda self: self.connected())
    @rule(index=INDEX, session=SESSIONS)
    def close_session(self, index: int, session: str) -> None:
        self.world.send(self.one(index), CloseMedia(session=session))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX)
    def recalibrate(self, index: int) -> None:
        self.world.send(self.one(index), Recalibrate())

    @precondition(lambda self: self.connected())
    @rule(index=INDEX)
    def react(self, index: int) -> None:
        self.world.send(self.one(index), React(template="happy"))

    @precondition(lambda self: self.connected())
    @rule(index=INDEX)
    def garbage(self, index: int) -> None:
        client = self.one(index)
        assert client.connection is not None
        world = self.world
        world._perform(world.board.refuse(client.connection, ErrorCode.MALFORMED, "No.", None, world.now))

    # ------------------------------------------------------------ workers

    @rule(name=st.sampled_from(["w1", "w2"]), instance=st.sampled_from(["i1", "i1", "i2", None]))
    def connect_worker(self, name: str, instance: str | None) -> None:
        self.world.worker(name, capacity=3, instance=instance)

    @rule(index=INDEX)
    def lose_worker(self, index: int) -> None:
        worker = self.worker(index)
        if worker is not None:
            self.world.lose_worker(worker)

    @rule(index=INDEX)
    def silent_worker(self, index: int) -> None:
        worker = self.worker(index)
        if worker is not None:
            self.world.pass_time(12.0, (worker,), step=2.0)  # type: ignore[arg-type]

    @rule(index=INDEX, load=st.sampled_from([0.0, 0.5, 1.0]), draining=st.booleans())
    def load(self, index: int, load: float, draining: bool) -> None:
        worker = self.worker(index)
        if worker is not None:
            self.world.say(worker, WorkerLoad(drivers=0, load=load, draining=draining))

    @rule(
        index=INDEX,
        about=INDEX,
        session=SESSIONS,
        what=st.integers(0, 4),
        state=st.sampled_from(["live", "no_video"]),
    )
    def report(self, index: int, about: int, session: str, what: int, state: Any) -> None:
        """True and false reports: of terminals it serves and of others, of sessions there are and not."""
        worker = self.worker(index)
        if worker is None:
            return
        terminal = self.terminal(about)
        messages: list[Any] = [
            WorkerSignal(terminal=terminal, session=session, channel="publish"),
            WorkerSignal(terminal=terminal, session=session, channel="subscribe", peer=self.terminal(0)),
            WorkerStatus(terminal=terminal, state=state),
            WorkerStats(terminal=terminal, generator="g", fps=30, frame_ms=1, age_ms=2, size=256),
            WorkerError(terminal=terminal, code=ErrorCode.MEDIA_FAILED, message="No.", session=session),
        ]
        served = terminal in worker.drivers
        call = next((c for c in self._shared_calls() if terminal in c), set())
        may_hear = ({terminal} | call) if served else set()
        before = {client: len(client.log) for client in self.world.clients}
        self.world.say(worker, messages[what])
        heard = {client.terminal for client in self.connected() if len(client.log) > before[client]}
        assert heard <= (may_hear if what in (2, 3) else may_hear & {terminal})

    def _shared_calls(self) -> list[set[str]]:
        rooms = self.world.board.state.rooms.values()
        shared = [room.shared_call("video") for room in rooms]
        return [set(call.members) for call in shared if call is not None]

    # ------------------------------------------------------------ always

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """When everybody falls silent, nothing is left of anybody."""
        if not hasattr(self, "world"):
            return
        world = self.world
        everybody = (*world.clients, *world.workers.values())
        world.pass_time(60.0, everybody, step=2.0)  # type: ignore[arg-type]
        state = world.board.state
        assert not state.terminals
        assert not state.rooms
        assert not state.by_token
        assert not state.workers


#: How often each thing happens on a random walk, next to the others.
WEIGHTS = {
    "come": 3, "lose": 2, "come_back": 4, "say_bye": 1, "time_passes": 3, "join": 3, "create": 1, "leave": 1,
    "ask": 14, "ask_wildly": 2, "accept": 14, "answer_several": 3, "decline": 2, "cancel": 2, "hang_up": 3,
    "text": 3, "set_media": 2, "select": 4, "publish": 8, "subscribe": 8, "direct": 4, "candidate": 2,
    "close_session": 2, "recalibrate": 1, "react": 1, "garbage": 1, "connect_worker": 2, "lose_worker": 1,
    "silent_worker": 1, "load": 3, "report": 5,
}  # fmt: skip


def arguments(name: str, rng: Random) -> dict[str, Any]:
    """Random arguments of a rule."""

    def index() -> int:
        return rng.randrange(12)

    values: dict[str, dict[str, Any]] = {
        "come": {"room": rng.choice(["R1", "R1", "R2", None])},
        "come_back": {"rename": rng.random() < 0.2},
        "time_passes": {
            "seconds": rng.choice([0.5, 3.0, 3.0, 9.0, 20.0, 31.0, 46.0]),
            "silent": {index() for _ in range(rng.choice([0, 0, 1, 2]))},
        },
        "join": {"room": rng.choice(["R1", "R1", "R2"])},
        "ask": {"to": rng.choice([None, None, [index()], [index(), index()]])},
        "ask_wildly": {"to": [index() for _ in range(rng.randrange(4))]},
        "accept": {"other_mode": index()},
        "answer_several": {"order": rng.sample(range(6), 6), "count": 2},
        "text": {"to": rng.choice([None, index()])},
        "set_media": {"camera": rng.random() < 0.5, "microphone": rng.random() < 0.5},
        "select": {"number": rng.randrange(3)},
        "direct": {"kind": rng.choice(["offer", "answer", "candidate"])},
        "connect_worker": {
            "name": rng.choice(["w1", "w2"]),
            "instance": rng.choice(["i1", "i1", "i2", None]),
        },
        "load": {"load": rng.choice([0.0, 0.5, 1.0]), "draining": rng.random() < 0.3},
        "report": {"what": rng.randrange(5), "state": rng.choice(["live", "no_video"])},
    }
    common = {
        "index": index(),
        "which": index(),
        "peer": index(),
        "about": index(),
        "session": rng.choice(["s1", "s2", "s3", "s4", "s5"]),
        "kind": rng.choice(["video", "video", "text"]),
        "mode": rng.choice(["reenacted", "reenacted", "direct"]),
    }
    wanted = signature(getattr(SignalingMachine, name)).parameters
    return {key: value for key, value in {**common, **values.get(name, {})}.items() if key in wanted}


@pytest.mark.parametrize("seed", range(120))
def test_random_walks(seed: int) -> None:
    """Longer lives than hypothesis makes, in which calls of three and crossing requests are common."""
    rng = Random(seed)
    machine = SignalingMachine()
    machine.start()
    for _ in range(200):
        name = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if not machine.connected():
            name = "come"
        getattr(machine, name)(**arguments(name, rng))
    machine.teardown()


TestSignaling = SignalingMachine.TestCase
TestSignaling.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
