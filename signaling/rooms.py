"""Rooms: entered, left; whoever leaves takes its requests and calls with it."""

from __future__ import annotations

from signaling.announcer import Announcer
from signaling.calls import Calls, EndReason
from signaling.effects import Outbox, Refusal
from signaling.placement import Placement
from signaling.protocol import ErrorCode, RoomLeft
from signaling.relays import Relays
from signaling.state import Room, State, Terminal


class Rooms:
    """Membership of rooms. A room is made by the first who enters and ends with the last who leaves."""

    def __init__(
        self,
        state: State,
        outbox: Outbox,
        announcer: Announcer,
        calls: Calls,
        relays: Relays,
        placement: Placement,
    ) -> None:
        self._state = state
        self._outbox = outbox
        self._announcer = announcer
        self._calls = calls
        self._relays = relays
        self._placement = placement

    def create(self, terminal: Terminal, re: str | None, now: float) -> None:
        """Enter a new room with an unguessable name; not for guests, whose token names one."""
        self.enter(terminal, self._state.new_token(12), re, now)

    def enter(self, terminal: Terminal, name: str, re: str | None, now: float) -> None:
        """Enter a room; the terminal's former one is left first, unless the new one is full.

        Raises:
            Refusal: ``room_full``; ``unauthorised`` or ``token_expired`` by the terminal's join token.
        """
        room = self._state.rooms.get(name)
        if room is not None and terminal.room is room:
            self._announcer.room(room, asked_by=terminal, re=re)
            return
        grant = terminal.grant
        if grant is not None and not grant.admits(name):
            raise Refusal(ErrorCode.UNAUTHORISED, "Your invitation is for another room.")
        if grant is not None and now >= grant.expires_at:
            raise Refusal(ErrorCode.TOKEN_EXPIRED, "Your invitation has expired; ask for a new one.")
        if room is not None and len(room.members) >= self._state.limits.room_capacity:
            raise Refusal(ErrorCode.ROOM_FULL, f"The room holds {len(room.members)} and is full.")
        if terminal.room is not None:
            self.leave(terminal, "left", None)
        room = self._state.rooms.setdefault(name, Room(name))
        room.members[terminal.id] = terminal
        terminal.room = room
        self._outbox.record("room.entered", terminal)
        self._placement.entered_room(terminal)
        self._announcer.room(room, asked_by=terminal, re=re)

    def leave(self, terminal: Terminal, reason: EndReason, re: str | None) -> None:
        """Leave the room with everything in it.

        Raises:
            Refusal: the terminal is in no room.
        """
        room = terminal.room
        if room is None:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "You are in no room.")
        self._relays.left_room(terminal, room)
        for call in list(terminal.calls()):
            self._calls.leave(call, terminal, reason)
        self._outbox.record("room.left", terminal, detail=reason)
        del room.members[terminal.id]
        terminal.room = None
        self._outbox.to_terminal(terminal, RoomLeft(re=re, room=room.name))
        if not room.members:
            del self._state.rooms[room.name]
            return
        self._relays.settle(room)
        self._announcer.room(room)
