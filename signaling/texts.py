"""Texts between terminals that are in a call with each other."""

from __future__ import annotations

from signaling.effects import Outbox, Refusal
from signaling.protocol import ErrorCode, SendText, Text
from signaling.state import State, Terminal


class Texts:
    """Passes texts on.

    Args:
        state: knows what time it is for people.
        outbox: takes what is to be sent.
    """

    def __init__(self, state: State, outbox: Outbox) -> None:
        self._state = state
        self._outbox = outbox

    def send(self, terminal: Terminal, message: SendText, now: float) -> None:
        """Pass a text on within the sender's calls; with an ``id`` the sender gets it back as receipt."""
        others = {
            other.id: other
            for call in terminal.calls()
            for other in call.members.values()
            if other is not terminal
        }
        if not others:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "Texts reach those you are in a call with; there is none.")
        if message.to is not None:
            if message.to not in others:
                raise Refusal(ErrorCode.PEER_UNKNOWN, "You are in no call with this terminal.")
            others = {message.to: others[message.to]}
        text = Text(
            sender=terminal.id,
            name=terminal.name,
            text=message.text,
            at=self._state.epoch + now,
            private=message.to is not None,
        )
        for other in others.values():
            self._outbox.to_terminal(other, text)
        if message.id is not None:
            self._outbox.to_terminal(terminal, text.model_copy(update={"re": message.id}))
