"""The records of the state machine: terminals, rooms, relay requests, calls, media sessions, workers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

from signaling.grants import Grant
from signaling.protocol import CallMode, DriverUpdate, MediaStatus, Presence, RelayKind, SessionClose, Text

#: Names one WebSocket connection; chosen by whoever feeds the state machine, never used twice.
ConnectionId = int
#: Makes an unguessable token of at least so many random bytes, out of ``[A-Za-z0-9_-]``.
TokenFactory = Callable[[int], str]

MISSED_TEXTS = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """Times (seconds) and bounds that the state machine keeps to."""

    heartbeat_s: float = 3.0
    silence_s: float = 8.0  # no message for this long: the terminal is away
    resume_s: float = 30.0  # away for this long: the terminal is gone
    ring_timeout_s: float = 45.0
    room_capacity: int = 8
    max_terminals: int = 10_000
    worker_silence_s: float = 8.0
    worker_grace_s: float = 3.0  # a worker whose connection was lost may come back for this long ...
    worker_handover_s: float = 1.0  # ... or for this long, when others have room for all that it serves
    play_on_s: float = 5.0  # terminals that are moved to another worker keep their former sessions so long


@dataclass(frozen=True, slots=True)
class MediaSession:
    """A media session of a terminal with its worker, as first offered."""

    channel: Literal["publish", "subscribe"]
    peer: str | None


@dataclass(slots=True, eq=False)
class Terminal:
    """A terminal (FIG. 1) from its hello until it leaves or has been lost for too long.

    ``connection`` is None while it has none; ``lost_at`` is set while it is away, which is also the case
    for a connection that has fallen silent.
    """

    id: str
    resume_token: str
    name: str
    connection: ConnectionId | None
    last_heard: float
    grant: Grant | None = None  # what its join token allows; None: everything, the service is open
    ice_renew_at: float = math.inf  # when it is given new credentials for the relays
    lost_at: float | None = None
    camera: bool = True
    microphone: bool = True
    target: str | None = None
    room: Room | None = None
    worker: Worker | None = None
    former: Worker | None = None  # moved away from it: its sessions there play on ...
    former_until: float = 0.0  # ... until then
    unserved: bool = False  # was refused for want of a worker
    told: DriverUpdate | None = None  # what its worker was last told of it
    status: MediaStatus | None = None  # what its worker last told of it
    sessions: dict[str, MediaSession] = field(default_factory=dict)
    media_lost: bool = False  # its worker was lost while it had no connection
    missed: deque[Text] = field(default_factory=lambda: deque(maxlen=MISSED_TEXTS))

    @property
    def presence(self) -> Presence:
        return "online" if self.lost_at is None else "away"

    @property
    def abandoned(self) -> bool:
        """Whether it holds a place at a worker but is away, and no pictures come from its camera either.

        So looks a closed tab. Without signaling alone, a call goes on; without a camera, sound may.
        """
        silent = self.status is not None and self.status.state == "no_video"
        return self.lost_at is not None and self.worker is not None and silent

    def calls(self) -> Iterator[Call]:
        """The calls it is in: at most the room's reenacted one, the room's text call and one direct call."""
        if self.room is not None:
            yield from [call for call in self.room.calls.values() if self.id in call.members]

    def call(self, kind: RelayKind, mode: CallMode) -> Call | None:
        """Its call of that kind and mode."""
        return next((call for call in self.calls() if call.kind == kind and call.mode == mode), None)


@dataclass(slots=True, eq=False)
class Room:
    """Terminals that can ask each other for calls. Exists as long as it has a member."""

    name: str
    members: dict[str, Terminal] = field(default_factory=dict)
    requests: dict[str, RelayRequest] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)

    def shared_call(self, kind: RelayKind) -> Call | None:
        """The room's one reenacted video call, or its one text call."""
        return next(
            (call for call in self.calls.values() if call.kind == kind and call.mode == "reenacted"), None
        )


@dataclass(slots=True, eq=False)
class Call:
    """A call of two members or more, all of them in its room; direct calls have exactly two."""

    id: str
    kind: RelayKind
    mode: CallMode
    room: Room
    members: dict[str, Terminal] = field(default_factory=dict)


class Answer(Enum):
    """How an asked terminal stands to a relay request."""

    PENDING = auto()
    WAITING = auto()  # accepted, but neither it nor the sender is in the room's running call yet
    CONNECTED = auto()  # accepted and in the call, or met the sender in the call by another way
    DECLINED = auto()


@dataclass(slots=True, eq=False)
class RelayRequest:
    """An open relay request (patent [0042]); closed ones are removed from their room."""

    id: str
    kind: RelayKind
    mode: CallMode
    sender: Terminal
    room: Room
    expires_at: float
    asked: dict[str, Answer]  # by terminal; those who left the room are taken out
    answered: bool = False  # somebody accepted into a call, or declined
    heard_end: set[str] = field(default_factory=set)  # asked terminals for whom it has ended already
    call: str | None = None  # the call it last led to


@dataclass(slots=True, eq=False)
class Worker:
    """A registered media worker. ``lost_at`` is set while its connection is lost and may come back."""

    id: str
    instance: str | None
    connection: ConnectionId | None
    capacity: int
    last_heard: float
    load: float = 0.0
    draining: bool = False
    lost_at: float | None = None
    drivers: dict[str, Terminal] = field(default_factory=dict)
    leaving: dict[str, Terminal] = field(
        default_factory=dict
    )  # moved away; their sessions play on for a while
    missed: list[SessionClose] = field(default_factory=list)  # sessions closed while it was lost

    @property
    def full(self) -> bool:
        return len(self.drivers) >= self.capacity or self.load >= 1.0

    @property
    def free(self) -> int:
        """How many more terminals it takes."""
        return 0 if self.draining or self.full else self.capacity - len(self.drivers)

    @property
    def usage(self) -> float:
        """For comparing workers: its own figure, or the share of its places given out since."""
        return max(self.load, len(self.drivers) / max(self.capacity, 1))


@dataclass(slots=True)
class State:
    """Everything the state machine knows."""

    limits: Limits
    new_token: TokenFactory
    epoch: float = 0.0  # seconds since the Unix epoch at the state machine's time 0
    terminals: dict[str, Terminal] = field(default_factory=dict)
    by_token: dict[str, Terminal] = field(default_factory=dict)
    by_connection: dict[ConnectionId, Terminal] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    worker_by_connection: dict[ConnectionId, Worker] = field(default_factory=dict)
