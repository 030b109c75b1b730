"""Relay requests (patent [0042]): asked, answered, connected, ended.

Each request ends in exactly one ``closed`` to its sender, and each terminal it asked hears of the end.
"""

from __future__ import annotations

from typing import Literal

from signaling.calls import Calls
from signaling.effects import Outbox, Refusal
from signaling.protocol import (
    AcceptRelay,
    CancelRelay,
    DeclineRelay,
    ErrorCode,
    RelayIncoming,
    RelayState,
    RequestRelay,
)
from signaling.state import Answer, Call, RelayRequest, Room, State, Terminal

Reason = Literal["answered", "cancelled", "timed_out", "sender_left", "nobody_left"]
_OPEN = (Answer.PENDING, Answer.WAITING)


def incoming(request: RelayRequest, now: float) -> RelayIncoming:
    return RelayIncoming(
        request=request.id,
        kind=request.kind,
        mode=request.mode,
        sender=request.sender.id,
        name=request.sender.name,
        expires_s=max(0.0, request.expires_at - now),
    )


class Relays:
    """The relay requests of all rooms.

    Whoever accepts a request for a shared call enters the room's running call together with the sender
    as soon as one of the two is in it (so a member lets newcomers in); without a running call the two
    start one. A direct call joins exactly the sender and the one terminal it asked.
    """

    def __init__(self, state: State, outbox: Outbox, calls: Calls) -> None:
        self._state = state
        self._outbox = outbox
        self._calls = calls

    # ------------------------------------------------------------ messages

    def request(self, sender: Terminal, message: RequestRelay, now: float) -> None:
        """Ask terminals of the room for a call.

        Those who are asking the sender for the same already are answered instead of asked back.

        Raises:
            Refusal: no room, unknown terminals, nobody to ask, or a direct call that cannot be.
        """
        room = sender.room
        if room is None:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "Enter a room first.")
        if message.kind == "text" and message.mode == "direct":
            raise Refusal(ErrorCode.MODE_MISMATCH, "Only video calls can be direct.")
        wanted = self._wanted(room, sender, message.to)
        if message.mode == "direct":
            self._check_direct(sender, wanted)
        own, crossing = [], []
        for request in room.requests.values():
            if (request.kind, request.mode) == (message.kind, message.mode):
                if request.sender is sender:
                    own.append(request)
                elif request.sender in wanted and request.asked.get(sender.id) in _OPEN:
                    crossing.append(request)
        for request in crossing:
            wanted.remove(request.sender)
            if request.asked[sender.id] is Answer.PENDING:
                self._accept(request, sender)
        call = sender.call(message.kind, message.mode)
        outside = [t for t in wanted if call is None or t.id not in call.members]
        ringing = [r for r in own if any(r.asked.get(t.id) in _OPEN for t in outside)]
        asked = [t for t in outside if not any(r.asked.get(t.id) in _OPEN for r in ringing)]
        # One message answers this one: the new request's state, else that of one it amounts to.
        re = message.id
        if asked:
            self._ring(room, sender, asked, message, now)
            re = None
        for request in crossing:
            self._tell(request, sender, "accepted", by=sender, re=re)
            re = None
        if not asked and not crossing:
            if not ringing:
                raise Refusal(ErrorCode.OUT_OF_ORDER, "All whom you ask are in the call already.")
            self._tell(ringing[0], sender, "pending", re=re)
        self.settle(room)

    def accept(self, terminal: Terminal, message: AcceptRelay) -> None:
        """Accept a request.

        Raises:
            Refusal: unknown or declined request, or another mode than the request's.
        """
        request, answer = self._asked(terminal, message.request)
        if message.mode != request.mode:
            raise Refusal(
                ErrorCode.MODE_MISMATCH, f"This is a {request.mode} request; it must be accepted as that."
            )
        if answer in (Answer.WAITING, Answer.CONNECTED):
            self._tell(request, terminal, "accepted", by=terminal, re=message.id)
            return
        if answer is not Answer.PENDING:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "You have answered this request already.")
        self._accept(request, terminal)
        self._tell(request, terminal, "accepted", by=terminal, re=message.id)
        self.settle(request.room)

    def decline(self, terminal: Terminal, message: DeclineRelay) -> None:
        """Decline a request, or take an acceptance back that has not led to a call yet.

        Raises:
            Refusal: unknown or answered request.
        """
        request, answer = self._asked(terminal, message.request)
        if answer not in _OPEN:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "You have answered this request already.")
        self._decline(request, terminal)
        self._tell(request, terminal, "declined", by=terminal, re=message.id)
        self.settle(request.room)

    def cancel(self, terminal: Terminal, message: CancelRelay) -> None:
        """Take one's own request back.

        Raises:
            Refusal: the terminal has no such open request.
        """
        request = None if terminal.room is None else terminal.room.requests.get(message.request)
        if request is None or request.sender is not terminal:
            raise Refusal(ErrorCode.REQUEST_UNKNOWN, "You have no such open request.")
        self._close(request, "cancelled", re=message.id)

    # ------------------------------------------------------------ what else happens to requests

    def expire(self, now: float) -> None:
        """Close what has rung for too long."""
        for room in list(self._state.rooms.values()):
            for request in list(room.requests.values()):
                if now >= request.expires_at:
                    self._close(request, "timed_out")

    def hung_up(self, terminal: Terminal, call: Call) -> None:
        """Who leaves a call also stops asking others into it."""
        for request in list(call.room.requests.values()):
            if request.sender is terminal and (request.kind, request.mode) == (call.kind, call.mode):
                self._close(request, "cancelled")

    def left_room(self, terminal: Terminal, room: Room) -> None:
        """End the terminal's own requests, and its part in those of others."""
        for request in list(room.requests.values()):
            if request.sender is terminal:
                self._close(request, "sender_left")
            elif terminal.id in request.asked:
                self._tell_end(request, terminal, "nobody_left")
                # Forgotten, so that nothing of it holds should the terminal enter the room again.
                del request.asked[terminal.id]
                request.heard_end.discard(terminal.id)

    def resumed(self, terminal: Terminal, now: float) -> None:
        """Tell a terminal that came back of the requests that still ring."""
        if terminal.room is None:
            return
        for request in terminal.room.requests.values():
            if request.sender is terminal:
                self._tell(request, terminal, "pending")
                for asked, answer in request.asked.items():
                    if answer is not Answer.PENDING:
                        self._tell_answer(request, terminal, answer, request.room.members[asked])
            elif terminal.id in request.asked and terminal.id not in request.heard_end:
                answer = request.asked[terminal.id]
                if answer is Answer.PENDING:
                    self._outbox.to_terminal(terminal, incoming(request, now))
                else:
                    self._tell_answer(request, terminal, answer, terminal)

    def settle(self, room: Room) -> None:
        """Draw the consequences of a changed call or answer until there are none left.

        Acceptances that waited for the running call connect; who met the sender in the call by another way
        need not answer any more; requests that nobody has yet to answer close.
        """
        changed = True
        while changed:
            changed = False
            for request in list(room.requests.values()):
                changed = self._connect(request) or changed
                self._spare_the_met(request)
                if not any(answer in _OPEN for answer in request.asked.values()):
                    self._close(request, "answered" if request.answered else "nobody_left")

    # ------------------------------------------------------------ details

    def _wanted(self, room: Room, sender: Terminal, to: list[str] | None) -> list[Terminal]:
        if to is None:
            wanted = [t for t in room.members.values() if t is not sender]
        else:
            wanted = []
            for terminal_id in dict.fromkeys(to):
                terminal = room.members.get(terminal_id)
                if terminal is None or terminal is sender:
                    raise Refusal(ErrorCode.PEER_UNKNOWN, "You can ask others in your room only.")
                wanted.append(terminal)
        if not wanted:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "There is nobody else to ask.")
        return wanted

    def _check_direct(self, sender: Terminal, wanted: list[Terminal]) -> None:
        if len(wanted) != 1:
            raise Refusal(ErrorCode.MODE_MISMATCH, "A direct call is between two: ask one terminal.")
        if any(terminal.call("video", "direct") for terminal in (sender, *wanted)):
            raise Refusal(ErrorCode.OUT_OF_ORDER, "One of you is in a direct call already.")

    def _ring(
        self, room: Room, sender: Terminal, asked: list[Terminal], message: RequestRelay, now: float
    ) -> None:
        request = RelayRequest(
            id="r" + self._state.new_token(9),
            kind=message.kind,
            mode=message.mode,
            sender=sender,
            room=room,
            expires_at=now + self._state.limits.ring_timeout_s,
            asked={terminal.id: Answer.PENDING for terminal in asked},
        )
        room.requests[request.id] = request
        self._tell(request, sender, "pending", re=message.id)
        for terminal in asked:
            self._outbox.to_terminal(terminal, incoming(request, now))

    def _asked(self, terminal: Terminal, request_id: str) -> tuple[RelayRequest, Answer]:
        request = None if terminal.room is None else terminal.room.requests.get(request_id)
        if request is None or terminal.id not in request.asked or terminal.id in request.heard_end:
            raise Refusal(ErrorCode.REQUEST_UNKNOWN, "There is no such request to you (any more).")
        return request, request.asked[terminal.id]

    def _accept(self, request: RelayRequest, terminal: Terminal) -> None:
        request.asked[terminal.id] = Answer.WAITING
        self._connect(request)
        self._tell(request, request.sender, "accepted", by=terminal)

    def _decline(self, request: RelayRequest, terminal: Terminal) -> None:
        request.asked[terminal.id] = Answer.DECLINED
        request.answered = True
        self._tell(request, request.sender, "declined", by=terminal)

    def _connect(self, request: RelayRequest) -> bool:
        """Put those who accepted into a call with the sender, if that can be now. Returns whether it was."""
        room = request.room
        waiting = [room.members[t] for t, answer in request.asked.items() if answer is Answer.WAITING]
        if not waiting:
            return False
        group = [request.sender, *waiting]
        call = None if request.mode == "direct" else room.shared_call(request.kind)
        if call is None:
            call = self._calls.start(room, request.kind, request.mode, group)
        elif any(terminal.id in call.members for terminal in group):
            newcomers = [terminal for terminal in group if terminal.id not in call.members]
            if newcomers:
                self._calls.join(call, newcomers)
        else:
            return False
        request.call = call.id
        request.answered = True
        for terminal in waiting:
            request.asked[terminal.id] = Answer.CONNECTED
        if request.mode == "direct":
            for terminal in group:
                self._drop_direct_requests(terminal, request)
        return True

    def _drop_direct_requests(self, terminal: Terminal, but: RelayRequest) -> None:
        """Who enters a direct call neither asks for another one nor is asked any longer."""
        for request in list(but.room.requests.values()):
            if request is but or request.mode != "direct":
                continue
            if request.sender is terminal:
                self._close(request, "cancelled")
            elif request.asked.get(terminal.id) in _OPEN:
                self._decline(request, terminal)

    def _spare_the_met(self, request: RelayRequest) -> None:
        call = request.sender.call(request.kind, request.mode)
        if call is None or request.mode == "direct":
            return
        for terminal_id, answer in request.asked.items():
            if answer is Answer.PENDING and terminal_id in call.members:
                request.asked[terminal_id] = Answer.CONNECTED
                request.call = call.id
                request.answered = True
                self._tell_end(request, call.members[terminal_id], "answered")

    def _close(self, request: RelayRequest, reason: Reason, re: str | None = None) -> None:
        del request.room.requests[request.id]
        for terminal_id in request.asked:
            terminal = request.room.members.get(terminal_id)
            if terminal is not None:
                self._tell_end(request, terminal, reason)
        self._tell(request, request.sender, "closed", reason=reason, re=re)
        outcome: str = reason
        if request.call is not None:
            outcome = "connected"
        elif reason == "answered":
            outcome = "declined"
        self._outbox.tally("relay", request.kind, request.mode, outcome)

    def _tell_answer(self, request: RelayRequest, terminal: Terminal, answer: Answer, by: Terminal) -> None:
        self._tell(request, terminal, "declined" if answer is Answer.DECLINED else "accepted", by=by)

    def _tell_end(self, request: RelayRequest, terminal: Terminal, reason: Reason) -> None:
        if terminal.id not in request.heard_end:
            request.heard_end.add(terminal.id)
            self._tell(request, terminal, "closed", reason=reason)

    def _tell(
        self,
        request: RelayRequest,
        terminal: Terminal,
        state: Literal["pending", "accepted", "declined", "closed"],
        *,
        reason: Reason | None = None,
        by: Terminal | None = None,
        re: str | None = None,
    ) -> None:
        self._outbox.to_terminal(
            terminal,
            RelayState(
                re=re,
                request=request.id,
                kind=request.kind,
                mode=request.mode,
                state=state,
                reason=reason,
                by=None if by is None else by.id,
                call=request.call,
            ),
        )
