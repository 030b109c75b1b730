"""A network in memory around the state machine: clients and workers that believe only what they are sent.

Each client builds its view from messages alone; :meth:`World.check` compares the views with the state
machine's own records and checks what must always hold.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from signaling.effects import Close, Effect, Send, Tally
from signaling.metrics import Metrics
from signaling.protocol import (
    SERVER_MESSAGE,
    TERMINAL_MESSAGE,
    WORKER_COMMAND,
    AcceptRelay,
    CallEnded,
    CallState,
    DriverGone,
    DriverUpdate,
    Error,
    Hello,
    IceServer,
    JoinRoom,
    MediaSignal,
    Member,
    Message,
    Ping,
    RelayIncoming,
    RelayState,
    RequestRelay,
    RoomLeft,
    RoomState,
    SelectTarget,
    SessionClose,
    SessionDescription,
    SessionSignal,
    TerminalRequest,
    Text,
    Welcome,
    WorkerHello,
    WorkerWelcome,
    decode,
    encode,
)
from signaling.state import Answer, Limits
from signaling.switchboard import Switchboard

SECRET = "between us"


@dataclass(eq=False)
class Client:
    """A terminal's side: what it was sent, and what it believes from that."""

    name: str
    connection: int | None = None
    terminal: str = ""
    token: str = ""
    room: RoomState | None = None
    calls: dict[str, CallState] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)  # its open requests
    asked: dict[str, str] = field(default_factory=dict)  # open requests to it -> pending, accepted, declined
    incoming: dict[str, RelayIncoming] = field(default_factory=dict)
    log: list[Any] = field(default_factory=list)

    def take(self, message: Any) -> None:
        """Update the view; what contradicts it fails."""
        self.log.append(message)
        match message:
            case Welcome():
                self.terminal, self.token = message.terminal, message.resume
                self.room = None
                self.calls, self.own, self.asked, self.incoming = {}, set(), {}, {}
            case RoomState():
                self.room = message
            case RoomLeft():
                assert self.room is not None
                assert self.room.room == message.room
                self.room = None
            case CallState():
                assert self.terminal in [m.terminal for m in message.members]
                self.calls[message.call] = message
            case CallEnded():
                del self.calls[message.call]
            case RelayIncoming():
                assert message.request not in self.asked, "rang twice"
                self.asked[message.request] = "pending"
                self.incoming[message.request] = message
            case RelayState(state="pending"):
                self.own.add(message.request)
            case RelayState(state="closed"):
                if message.request in self.own:
                    self.own.remove(message.request)
                else:
                    del self.asked[message.request]
            case RelayState():
                if message.by == self.terminal:
                    self.asked[message.request] = message.state
                else:
                    assert message.request in self.own, "told of an answer to a request of another"

    def last(self, kind: type) -> Any:
        """The newest message of a type."""
        return next((m for m in reversed(self.log) if isinstance(m, kind)), None)

    def all(self, kind: type) -> list[Any]:
        return [m for m in self.log if isinstance(m, kind)]

    @property
    def errors(self) -> list[str]:
        return [m.code.value for m in self.all(Error)]


@dataclass(eq=False)
class FakeWorker:
    """A media worker's side: the drivers and sessions that it holds because it was told to."""

    id: str
    instance: str
    connection: int | None = None
    drivers: dict[str, DriverUpdate] = field(default_factory=dict)
    sessions: dict[tuple[str, str], SessionSignal] = field(default_factory=dict)
    log: list[Any] = field(default_factory=list)

    def take(self, message: Any) -> None:
        self.log.append(message)
        match message:
            case WorkerWelcome():
                for terminal in set(self.drivers) - set(message.drivers):
                    self._forget(terminal)
            case DriverUpdate():
                self.drivers[message.terminal] = message
            case DriverGone():
                assert message.terminal in self.drivers
                self._forget(message.terminal)
            case SessionSignal(description=None):
                assert (message.terminal, message.session) in self.sessions
            case SessionSignal():
                assert message.terminal in self.drivers, "a session of a driver it was not told of"
                if message.channel == "subscribe":
                    assert message.terminal in self.drivers[message.peer].viewers
                self.sessions[message.terminal, message.session] = message
            case SessionClose():
                self.sessions.pop((message.terminal, message.session), None)

    def restart(self, instance: str) -> None:
        """The process ended and another took its name."""
        self.instance = instance
        self.drivers, self.sessions = {}, {}

    def _forget(self, terminal: str) -> None:
        del self.drivers[terminal]
        self.sessions = {key: s for key, s in self.sessions.items() if key[0] != terminal}


class World:
    """The state machine with its clients, workers and clock."""

    def __init__(self, **limits: Any) -> None:
        self.limits = Limits(**limits)
        self.now = 1000.0
        self._tokens = itertools.count(1)
        self._numbers = itertools.count(1)
        self.board = Switchboard(
            self.limits,
            lambda size: f"{next(self._tokens):06}-{size}",
            worker_secret=SECRET,
            ice_servers=(IceServer(urls=["stun:stun.example.org"]),),
            epoch=1e9,
        )
        self.clients: list[Client] = []
        self.workers: dict[str, FakeWorker] = {}
        self.targets: dict[str, str] = {}  # every target id ever chosen -> the terminal's resume token
        self.consents: set[tuple[str, str]] = set()  # (who, with whom): asked for or accepted, as direct
        self.direct_calls: dict[str, frozenset[str]] = {}
        self._by_connection: dict[int, Client | FakeWorker] = {}
        self._metrics = Metrics(CollectorRegistry(), self.board.state)

    # ------------------------------------------------------------ clients

    def client(self, name: str = "somebody", room: str | None = None) -> Client:
        """A new client that has said hello, and entered a room if one is given."""
        client = Client(name)
        self.clients.append(client)
        self.hello(client)
        if room is not None:
            self.send(client, JoinRoom(room=room))
        return client

    def hello(self, client: Client, resume: str | None = None, id: str | None = None) -> None:
        """Connect (anew) and say hello; a former connection of the client stays open unless lost."""
        connection = next(self._numbers)
        client.connection = connection
        self._by_connection[connection] = client
        self._perform(self.board.receive(connection, Hello(name=client.name, resume=resume, id=id), self.now))
        self.check()

    def resume(self, client: Client) -> None:
        self.hello(client, client.token)

    def send(self, client: Client, message: TerminalRequest) -> list[Any]:
        """Send a message as a client; returns what the client was sent meanwhile."""
        assert client.connection is not None
        before = len(client.log)
        sender = client.terminal
        request = message.request if isinstance(message, AcceptRelay) else None
        asked = client.incoming.get(request or "")
        partners: list[str] = []
        if isinstance(message, RequestRelay) and message.mode == "direct":
            partners = message.to or [m.terminal for m in client.room.members] if client.room else []
        elif isinstance(message, AcceptRelay) and message.mode == "direct" and asked is not None:
            partners = [asked.sender]
        given = {(sender, partner) for partner in partners} - self.consents
        self.consents |= given
        if isinstance(message, SelectTarget) and message.target is not None:
            self.targets[message.target] = client.token
        # Over the wire and back: what is sent must also be readable.
        again = decode(TERMINAL_MESSAGE, encode(message))
        effects = self.board.receive(client.connection, again, self.now)
        if any(isinstance(e, Send) and isinstance(e.message, Error) for e in effects):
            self.consents -= given
        self._perform(effects)
        self.check()
        return client.log[before:]

    def lose(self, client: Client) -> None:
        """The client's connection breaks."""
        assert client.connection is not None
        connection, client.connection = client.connection, None
        del self._by_connection[connection]
        self._perform(self.board.disconnected(connection, self.now))
        self.check()

    def publish(self, client: Client, session: str = "p1") -> list[Any]:
        return self.send(client, offer("publish", session))

    def pass_time(self, seconds: float, silent: tuple[Client, ...] = (), step: float = 0.5) -> None:
        """Let time pass; clients ping and workers report but for the silent."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            for client in self.clients:
                if client.connection is not None and client not in silent:
                    self._perform(self.board.receive(client.connection, Ping(), self.now))
            for worker in self.board.state.workers.values():
                if worker.connection is not None and self.workers[worker.id] not in silent:
                    worker.last_heard = self.now
            self._perform(self.board.tick(self.now))
        self.check()

    # ------------------------------------------------------------ workers

    def worker(self, name: str = "w1", capacity: int = 10, instance: str | None = "i1") -> FakeWorker:
        """Connect a worker (anew). Another instance than before has forgotten everything."""
        worker = self.workers.setdefault(name, FakeWorker(name, instance or ""))
        if instance is None or worker.instance != instance:
            worker.restart(instance or "")
        connection = next(self._numbers)
        worker.connection = connection
        self._by_connection[connection] = worker
        hello = WorkerHello(worker=name, secret=SECRET, capacity=capacity, instance=instance)
        self._perform(self.board.worker_receive(connection, hello, self.now))
        self.check()
        return worker

    def say(self, worker: FakeWorker, message: Message) -> None:
        """Send a message as a worker."""
        assert worker.connection is not None
        self._perform(self.board.worker_receive(worker.connection, message, self.now))
        self.check()

    def lose_worker(self, worker: FakeWorker) -> None:
        """The worker's connection breaks."""
        assert worker.connection is not None
        connection, worker.connection = worker.connection, None
        del self._by_connection[connection]
        self._perform(self.board.worker_disconnected(connection, self.now))
        self.check()

    # ------------------------------------------------------------ carrying out

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(connection, message):
                    assert connection in self._by_connection, f"sent to a closed connection: {message}"
                    receiver = self._by_connection[connection]
                    text = encode(message)
                    if isinstance(receiver, Client):
                        self._check_secrets(receiver, message, text)
                        if receiver.connection == connection:  # an old one may still get its last words
                            receiver.take(decode(SERVER_MESSAGE, text))
                    elif receiver.connection == connection:
                        receiver.take(decode(WORKER_COMMAND, text))
                case Close(connection):
                    assert connection in self._by_connection, "closed twice"
                    receiver = self._by_connection.pop(connection)
                    if receiver.connection == connection:
                        receiver.connection = None
                    assert connection not in self.board.state.by_connection
                    assert connection not in self.board.state.worker_by_connection
                case Tally():
                    self._metrics.count(effect)  # fails on an unknown event or a wrong number of labels

    def _check_secrets(self, receiver: Client, message: Message, text: str) -> None:
        """Target ids and resume tokens go to their own terminal alone."""
        own = message.resume if isinstance(message, Welcome) else receiver.token
        for target, token in self.targets.items():
            assert token == own or target not in text, f"a target's id went astray: {text}"
        for terminal in self.board.state.terminals.values():
            if terminal.resume_token != own:
                assert terminal.resume_token not in text

    # ------------------------------------------------------------ what must always hold

    def check(self) -> None:
        self._check_terminals()
        self._check_rooms()
        self._check_calls()
        self._check_requests()
        self._check_workers()
        for client in self.clients:
            if client.connection in self.board.state.by_connection:
                self._check_view(client)

    def _check_terminals(self) -> None:
        state = self.board.state
        assert {t.resume_token: t for t in state.terminals.values()} == state.by_token
        connected = {t.connection: t for t in state.terminals.values() if t.connection is not None}
        assert connected == state.by_connection
        for terminal in state.terminals.values():
            if terminal.lost_at is not None:  # no ghosts
                assert self.now - terminal.lost_at <= self.limits.resume_s
            else:
                assert terminal.connection is not None
                assert self.now - terminal.last_heard <= self.limits.silence_s
            if terminal.room is not None:
                assert state.rooms[terminal.room.name] is terminal.room
                assert terminal.room.members[terminal.id] is terminal

    def _check_rooms(self) -> None:
        for room in self.board.state.rooms.values():
            assert 1 <= len(room.members) <= self.limits.room_capacity
            for terminal in room.members.values():
                assert self.board.state.terminals[terminal.id] is terminal
                assert terminal.room is room
            assert len({id(t.worker) for t in room.members.values() if t.worker is not None}) <= 1

    def _check_calls(self) -> None:
        direct: dict[str, frozenset[str]] = {}
        for room in self.board.state.rooms.values():
            shared = [call.kind for call in room.calls.values() if call.mode == "reenacted"]
            assert len(shared) == len(set(shared))
            in_direct = [t for call in room.calls.values() if call.mode == "direct" for t in call.members]
            assert len(in_direct) == len(set(in_direct))
            for call in room.calls.values():
                assert len(call.members) >= 2, "a half-open call"
                assert set(call.members) <= set(room.members)
                if call.mode == "direct":
                    assert call.kind == "video"
                    assert len(call.members) == 2
                    direct[call.id] = frozenset(call.members)
        for call_id, pair in direct.items():
            if call_id not in self.direct_calls:
                one, other = pair
                assert (one, other) in self.consents, "in a direct call without consent"
                assert (other, one) in self.consents, "in a direct call without consent"
        for call_id, pair in self.direct_calls.items():
            if call_id not in direct:
                self.consents -= {(one, other) for one in pair for other in pair}
        self.direct_calls = direct
        ringing = {
            frozenset((request.sender.id, asked))
            for room in self.board.state.rooms.values()
            for request in room.requests.values()
            if request.mode == "direct"
            for asked in request.asked
        }
        held = ringing | set(direct.values())
        self.consents = {pair for pair in self.consents if frozenset(pair) in held}

    def _check_requests(self) -> None:
        for room in self.board.state.rooms.values():
            for request in room.requests.values():
                assert request.sender.room is room
                assert set(request.asked) <= set(room.members)
                assert request.sender.id not in request.asked
                assert request.expires_at > self.now - 0.5, "rings for ever"
                answers = list(request.asked.values())
                assert Answer.PENDING in answers or Answer.WAITING in answers, "answered, but not closed"
                shared = room.shared_call(request.kind) if request.mode == "reenacted" else None
                if shared is not None and request.sender.id in shared.members:
                    outside = {t for t, answer in request.asked.items() if answer is Answer.PENDING}
                    assert not outside & set(shared.members), "met, but still ringing"

    def _check_workers(self) -> None:
        state = self.board.state
        for terminal in state.terminals.values():
            if terminal.worker is None:
                assert not terminal.sessions
            else:
                assert state.workers[terminal.worker.id] is terminal.worker
                assert terminal.worker.drivers[terminal.id] is terminal
        for record in state.workers.values():
            assert len(record.drivers) <= record.capacity
            if record.connection is None:
                continue
            worker = self.workers[record.id]
            known = {**record.drivers, **record.leaving}
            assert worker.drivers == {terminal: self._driver(terminal) for terminal in known}
            held = {(t.id, s) for t in record.drivers.values() for s in t.sessions}
            assert {key for key in worker.sessions if key[0] not in record.leaving} == held
            for terminal in record.leaving.values():
                assert terminal.former is record
                assert terminal.worker not in (None, record)
                assert self.now < terminal.former_until, "plays on for ever"

    def _driver(self, terminal_id: str) -> DriverUpdate:
        """What a worker should know of a terminal, worked out from scratch."""
        terminal = self.board.state.terminals[terminal_id]
        viewers = []
        for call in terminal.room.calls.values() if terminal.room else ():
            if call.kind == "video" and call.mode == "reenacted" and terminal_id in call.members:
                viewers = [t for t in call.members if t != terminal_id]
        return DriverUpdate(
            terminal=terminal_id,
            name=terminal.name,
            target=terminal.target,
            camera=terminal.camera,
            microphone=terminal.microphone,
            viewers=viewers,
        )

    def _check_view(self, client: Client) -> None:
        """What the client believes is how it is."""
        assert client.connection is not None
        terminal = self.board.state.by_connection[client.connection]
        assert client.terminal == terminal.id

        def members(of: Any) -> list[Member]:
            return [
                Member(
                    terminal=t.id,
                    name=t.name,
                    presence="away" if t.lost_at is not None else "online",
                    camera=t.camera,
                    microphone=t.microphone,
                )
                for t in of.members.values()
            ]

        room = terminal.room
        if room is None:
            assert client.room is None
            assert not client.calls
            assert not client.own
            assert not client.asked
            return
        assert client.room is not None
        assert (client.room.room, client.room.members) == (room.name, members(room))
        assert {c: (m.kind, m.mode, m.members) for c, m in client.calls.items()} == {
            call.id: (call.kind, call.mode, members(call))
            for call in room.calls.values()
            if terminal.id in call.members
        }
        assert client.own == {r.id for r in room.requests.values() if r.sender is terminal}
        words = {
            Answer.PENDING: "pending",
            Answer.WAITING: "accepted",
            Answer.CONNECTED: "accepted",
            Answer.DECLINED: "declined",
        }
        assert client.asked == {
            r.id: words[r.asked[terminal.id]]
            for r in room.requests.values()
            if terminal.id in r.asked and terminal.id not in r.heard_end
        }


def offer(channel: Any, session: str, peer: str | None = None) -> MediaSignal:
    return MediaSignal(
        channel=channel,
        session=session,
        peer=peer,
        description=SessionDescription(type="offer", sdp=f"v=0 {session}"),
    )


def texts(client: Client) -> list[str]:
    return [message.text for message in client.all(Text)]
