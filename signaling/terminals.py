"""The life of a terminal: it says hello, is lost, comes back, falls silent, leaves."""

from __future__ import annotations

from signaling.announcer import Announcer
from signaling.calls import EndReason
from signaling.effects import CLOSE_NORMAL, CLOSE_POLICY, Outbox, Refusal
from signaling.grants import NO_TOKEN, Admission, Denied, Grant
from signaling.media import Media
from signaling.placement import Placement
from signaling.protocol import ErrorCode, Hello, IceServer, MediaIce, Welcome
from signaling.relays import Relays
from signaling.rooms import Rooms
from signaling.state import ConnectionId, State, Terminal
from signaling.turn import TurnCredentials


class Terminals:
    """Welcomes terminals, keeps the places of the lost, and forgets those that are gone.

    Args:
        turn: makes each terminal's ICE servers.
        by_invitation: a terminal needs a :class:`~signaling.grants.Grant` to get in.
    """

    def __init__(
        self,
        state: State,
        outbox: Outbox,
        announcer: Announcer,
        rooms: Rooms,
        relays: Relays,
        media: Media,
        placement: Placement,
        *,
        turn: TurnCredentials,
        by_invitation: bool,
    ) -> None:
        self._state = state
        self._outbox = outbox
        self._announcer = announcer
        self._rooms = rooms
        self._relays = relays
        self._media = media
        self._placement = placement
        self._turn = turn
        self._by_invitation = by_invitation

    def heard(self, connection: ConnectionId, now: float) -> Terminal | None:
        """A connection gave a sign of life; returns the terminal that has said hello on it."""
        terminal = self._state.by_connection.get(connection)
        if terminal is not None:
            terminal.last_heard = now
            if terminal.lost_at is not None:  # it had fallen silent and speaks again
                terminal.lost_at = None
                self._announcer.appearance(terminal)
        return terminal

    def hello(
        self,
        connection: ConnectionId,
        present: Terminal | None,
        message: Hello,
        now: float,
        admission: Admission,
    ) -> None:
        """Let a terminal in, back in, or turn it away.

        Raises:
            Refusal: it has said hello on this connection.
        """
        if present is not None:
            raise Refusal(ErrorCode.OUT_OF_ORDER, "You have said hello already.")
        former = None if message.resume is None else self._state.by_token.get(message.resume)
        if former is not None:
            # The resume token is as good a proof, and a call may last longer than its invitation.
            if isinstance(admission, Grant):
                former.grant = admission
            self._resume(former, connection, message, now)
            return
        if self._by_invitation and not isinstance(admission, Grant):
            self._turn_away(connection, admission or NO_TOKEN, message)
            return
        if len(self._state.terminals) >= self._state.limits.max_terminals:
            self._outbox.error(
                connection, ErrorCode.RATE_LIMITED, "The service is full; try later.", message.id
            )
            self._outbox.close(connection, CLOSE_POLICY, ErrorCode.RATE_LIMITED.value)
            return
        new_token = self._state.new_token
        grant = admission if isinstance(admission, Grant) else None
        terminal = Terminal("t" + new_token(9), new_token(32), message.name, connection, now, grant)
        terminal.name = _display_name(terminal, message)
        self._state.terminals[terminal.id] = terminal
        self._state.by_token[terminal.resume_token] = terminal
        self._state.by_connection[connection] = terminal
        self._outbox.record("terminal.arrived", terminal)
        self._welcome(terminal, now, resumed=False, re=message.id)
        if message.resume is not None:
            self._outbox.tally("reconnect", "refused")
            self._outbox.error(
                connection,
                ErrorCode.RESUME_REFUSED,
                "Your former place is not kept any longer; you have a new one.",
                message.id,
            )

    def disconnected(self, connection: ConnectionId, now: float) -> None:
        """A connection is lost; its terminal's place is kept for a while. Unknown connections are fine."""
        terminal = self._state.by_connection.pop(connection, None)
        if terminal is not None:
            terminal.connection = None
            if terminal.lost_at is None:
                self._set_away(terminal, now)

    def tick(self, now: float) -> None:
        """Time has passed: find the silent, give up the lost, renew what expires."""
        limits = self._state.limits
        for terminal in list(self._state.terminals.values()):
            if terminal.lost_at is None:
                if now - terminal.last_heard >= limits.silence_s:
                    self._set_away(terminal, now)
                elif now >= terminal.ice_renew_at:
                    renewed = MediaIce(ice_servers=self._ice_servers(terminal, now))
                    self._outbox.to_terminal(terminal, renewed)
            elif now - terminal.lost_at >= limits.resume_s:
                self._remove(terminal, "peer_vanished")
                # Each is an event of its own: the next may end a call that this one led to.
                self._announcer.flush()

    def bye(self, terminal: Terminal) -> None:
        """It leaves for good."""
        connection = terminal.connection
        self._remove(terminal, "left")
        if connection is not None:
            self._outbox.close(connection, CLOSE_NORMAL, "bye")

    def _turn_away(self, connection: ConnectionId, denied: Denied, message: Hello) -> None:
        self._outbox.denied(connection, message.name, denied.code.value)
        self._outbox.error(connection, denied.code, denied.message, message.id)
        self._outbox.close(connection, CLOSE_POLICY, denied.code.value)

    def _resume(self, terminal: Terminal, connection: ConnectionId, message: Hello, now: float) -> None:
        if terminal.connection is not None:
            del self._state.by_connection[terminal.connection]
            self._outbox.error(
                terminal.connection, ErrorCode.SUPERSEDED, "You have connected again elsewhere."
            )
            self._outbox.close(terminal.connection, CLOSE_POLICY, ErrorCode.SUPERSEDED.value)
        self._outbox.tally("reconnect", "resumed")
        terminal.connection = connection
        terminal.last_heard = now
        self._state.by_connection[connection] = terminal
        name = _display_name(terminal, message)
        if terminal.lost_at is not None or terminal.name != name:
            terminal.lost_at = None
            terminal.name = name
            self._announcer.appearance(terminal)
        self._welcome(terminal, now, resumed=True, re=message.id)
        if terminal.room is not None:
            self._announcer.room(terminal.room)
        for call in terminal.calls():
            self._announcer.call(call)
        self._announcer.flush()
        self._relays.resumed(terminal, now)
        self._media.resumed(terminal)
        while terminal.missed:
            self._outbox.to_terminal(terminal, terminal.missed.popleft())

    def _welcome(self, terminal: Terminal, now: float, *, resumed: bool, re: str | None) -> None:
        limits, grant = self._state.limits, terminal.grant
        self._outbox.to_terminal(
            terminal,
            Welcome(
                re=re,
                terminal=terminal.id,
                resume=terminal.resume_token,
                resumed=resumed,
                resume_s=limits.resume_s,
                heartbeat_s=limits.heartbeat_s,
                ice_servers=self._ice_servers(terminal, now),
                target=terminal.target,
                name=None if grant is None else grant.name,
                room=None if grant is None else grant.room,
            ),
        )

    def _ice_servers(self, terminal: Terminal, now: float) -> list[IceServer]:
        """The terminal's relays, and when to give it new credentials for them."""
        if self._turn.expire:
            terminal.ice_renew_at = now + self._turn.ttl_s / 2
        return self._turn.ice_servers(terminal.id, self._state.epoch + now)

    def _set_away(self, terminal: Terminal, now: float) -> None:
        terminal.lost_at = now
        self._announcer.appearance(terminal)

    def _remove(self, terminal: Terminal, reason: EndReason) -> None:
        """The terminal is gone: nothing of it may remain anywhere."""
        connection, terminal.connection = terminal.connection, None
        if connection is not None:
            del self._state.by_connection[connection]
            if reason == "peer_vanished":  # silent for so long, its socket is of no use to anybody
                self._outbox.close(connection, CLOSE_POLICY, "silent")
        if terminal.room is not None:
            self._rooms.leave(terminal, reason, None)
        self._placement.release(terminal)
        self._outbox.record("terminal.gone", terminal, detail=reason)
        del self._state.terminals[terminal.id]
        del self._state.by_token[terminal.resume_token]


def _display_name(terminal: Terminal, message: Hello) -> str:
    """The name that the join token gives, else the one that the terminal chose."""
    named = None if terminal.grant is None else terminal.grant.name
    return named or message.name
