"""The log as the sockets see it, and the log of a node that is alone: nothing but a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from signaling.effects import Effect
from signaling.replication.events import Event, Kind
from signaling.replication.replica import Replica
from signaling.state import ConnectionId

#: Carries effects out; the second argument says whether the event came in on this node.
Perform = Callable[[list[Effect], bool], None]


class EventLog(Protocol):
    """Puts events in order and has them applied."""

    @property
    def node(self) -> int:
        """This node's number; 0 when it is alone."""

    @property
    def trouble(self) -> str | None:
        """Why events cannot be taken at the moment, as a sentence; None: they can."""

    @property
    def now(self) -> float:
        """The state machine's time, seconds."""

    def submit(self, event: Event) -> None:
        """Append an event of this node."""

    def heard(self, connection: ConnectionId) -> None:
        """There was a sign of life."""

    def tick(self) -> None:
        """Time has passed; called by every node."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class LocalLog:
    """The log of a node that is alone: an event is applied as it comes.

    Args:
        replica: the state machine.
        perform: carries effects out.
    """

    node = 0
    trouble = None

    def __init__(self, replica: Replica, perform: Perform) -> None:
        self._replica = replica
        self._perform = perform

    @property
    def now(self) -> float:
        return time.monotonic()

    def submit(self, event: Event) -> None:
        self._perform(self._replica.apply(event, time.monotonic()), True)

    def heard(self, connection: ConnectionId) -> None:
        kind: Kind = "heard"
        self.submit(Event(self.node, kind, connections=(connection,)))

    def tick(self) -> None:
        self.submit(Event(self.node, "tick"))

    async def start(self) -> None:
        """There is nothing to join."""

    async def stop(self) -> None:
        """There is nobody to leave; the service says goodbye itself."""
