"""Calls: started, joined, left; none with fewer than two members."""

from __future__ import annotations

from typing import Literal

from signaling.announcer import Announcer
from signaling.effects import Outbox
from signaling.media import Media
from signaling.placement import Placement
from signaling.protocol import CallEnded, CallMode, RelayKind
from signaling.state import Call, Room, State, Terminal

EndReason = Literal["left", "peer_vanished"]


class Calls:
    """The calls of all rooms: in each at most one reenacted video call, one text call, and direct calls."""

    def __init__(
        self, state: State, outbox: Outbox, announcer: Announcer, media: Media, placement: Placement
    ) -> None:
        self._state = state
        self._outbox = outbox
        self._announcer = announcer
        self._media = media
        self._placement = placement

    def start(self, room: Room, kind: RelayKind, mode: CallMode, members: list[Terminal]) -> Call:
        """Start a call of two members or more."""
        call = Call("c" + self._state.new_token(9), kind, mode, room)
        room.calls[call.id] = call
        self._outbox.tally("call", kind, mode)
        self.join(call, members)
        return call

    def join(self, call: Call, newcomers: list[Terminal]) -> None:
        for terminal in newcomers:
            call.members[terminal.id] = terminal
            self._outbox.record("call.joined", terminal, detail=f"{call.kind} {call.mode}")
        self._media.joined_call(call, newcomers)
        self._announcer.call(call)

    def leave(self, call: Call, terminal: Terminal, reason: EndReason, re: str | None = None) -> None:
        """Take a member out; a call left with one member ends for it too."""
        self._remove(call, terminal)
        self._outbox.to_terminal(terminal, CallEnded(re=re, call=call.id, reason="left"))
        if len(call.members) >= 2:
            self._announcer.call(call)
            return
        for last in list(call.members.values()):
            self._remove(call, last)
            ended = CallEnded(call=call.id, reason="alone" if reason == "left" else reason)
            self._outbox.to_terminal(last, ended)
        del call.room.calls[call.id]

    def _remove(self, call: Call, terminal: Terminal) -> None:
        del call.members[terminal.id]
        self._outbox.record("call.left", terminal, room=call.room.name, detail=f"{call.kind} {call.mode}")
        self._media.left_call(call, terminal)
        self._placement.release_if_idle(terminal)
