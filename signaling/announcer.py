"""Tells terminals and workers how things stand: whole states, once for each event that changed them."""

from __future__ import annotations

from signaling.effects import Outbox
from signaling.protocol import CallState, DriverUpdate, Member, RoomState
from signaling.state import Call, Room, State, Terminal


def member(terminal: Terminal) -> Member:
    """A terminal as others see it; its target's id is a capability and never part of this."""
    return Member(
        terminal=terminal.id,
        name=terminal.name,
        presence=terminal.presence,
        camera=terminal.camera,
        microphone=terminal.microphone,
    )


def room_state(room: Room, re: str | None = None) -> RoomState:
    return RoomState(re=re, room=room.name, members=[member(t) for t in room.members.values()])


def call_state(call: Call) -> CallState:
    return CallState(
        call=call.id, kind=call.kind, mode=call.mode, members=[member(t) for t in call.members.values()]
    )


def viewers(terminal: Terminal) -> list[str]:
    """Who may see a terminal's generated picture: the other members of its reenacted video call alone."""
    call = terminal.call("video", "reenacted")
    return [] if call is None else [other for other in call.members if other != terminal.id]


def driver_update(terminal: Terminal) -> DriverUpdate:
    return DriverUpdate(
        terminal=terminal.id,
        name=terminal.name,
        target=terminal.target,
        camera=terminal.camera,
        microphone=terminal.microphone,
        viewers=viewers(terminal),
    )


class Announcer:
    """Notes what changed during an event and sends each state once at its end.

    So that one event (a terminal leaving, say) that changes a room in three steps gives its members one
    message, and never a state that was true for a moment only.
    """

    def __init__(self, state: State, outbox: Outbox) -> None:
        self._state = state
        self._outbox = outbox
        self._rooms: dict[str, Room] = {}
        self._calls: dict[str, Call] = {}
        self._drivers: dict[str, Terminal] = {}
        self._answers: dict[str, str | None] = {}

    def room(self, room: Room, *, asked_by: Terminal | None = None, re: str | None = None) -> None:
        """The room changed; the state answers the message ``re`` of ``asked_by``, if any."""
        self._rooms[room.name] = room
        if asked_by is not None:
            self._answers[asked_by.id] = re

    def call(self, call: Call) -> None:
        """The call's members, or how one of them is seen, changed."""
        self._calls[call.id] = call

    def driver(self, terminal: Terminal) -> None:
        """Something that the terminal's worker knows of it may have changed."""
        self._drivers[terminal.id] = terminal

    def appearance(self, terminal: Terminal) -> None:
        """The terminal's name, presence, camera or microphone changed: its room, calls and worker hear."""
        if terminal.room is not None:
            self.room(terminal.room)
        for call in terminal.calls():
            self.call(call)
        self.driver(terminal)

    def driver_now(self, terminal: Terminal) -> None:
        """Bring the terminal's worker up to date before something else is sent to it."""
        worker = terminal.worker
        if worker is None:
            return
        update = driver_update(terminal)
        if update == terminal.told:
            return
        if terminal.former is not None:  # what plays on there follows as well: who may see it above all
            self._outbox.to_worker(terminal.former, update)
        if worker.connection is not None:
            terminal.told = update
            self._outbox.to_worker(worker, update)

    def flush(self) -> None:
        """Send every noted state to those whom it concerns and who are still there."""
        for room in self._rooms.values():
            if self._state.rooms.get(room.name) is not room:
                continue
            everyone = room_state(room)
            for terminal in room.members.values():
                re = self._answers.get(terminal.id)
                self._outbox.to_terminal(terminal, everyone if re is None else room_state(room, re))
        for call in self._calls.values():
            if call.room.calls.get(call.id) is not call:
                continue
            everyone_in = call_state(call)
            for terminal in call.members.values():
                self._outbox.to_terminal(terminal, everyone_in)
        for terminal in self._drivers.values():
            self.driver_now(terminal)
        self._rooms.clear()
        self._calls.clear()
        self._drivers.clear()
        self._answers.clear()
