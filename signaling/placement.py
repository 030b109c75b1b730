"""Gives terminals their media workers: whole calls and rooms at one, moved when that one goes or fills up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from signaling.announcer import Announcer
from signaling.effects import Outbox, Refusal
from signaling.protocol import DriverGone, ErrorCode, WorkerGone
from signaling.state import Room, State, Terminal, Worker
from signaling.workers import Workers


def _by_room(terminals: Iterable[Terminal]) -> list[list[Terminal]]:
    """Those of one room together; those in none by themselves."""
    groups: dict[str, list[Terminal]] = {}
    for terminal in terminals:
        key = f"terminal {terminal.id}" if terminal.room is None else f"room {terminal.room.name}"
        groups.setdefault(key, []).append(terminal)
    return list(groups.values())


class Placement:
    """Which worker serves which terminal.

    All members of a room that have a worker have the same one, so that each can subscribe to the others.
    """

    def __init__(self, state: State, outbox: Outbox, announcer: Announcer, workers: Workers) -> None:
        self._state = state
        self._outbox = outbox
        self._announcer = announcer
        self._workers = workers

    def place(self, terminal: Terminal) -> None:
        """Make sure that the terminal has a worker that can be reached: its own, its room's, or any.

        Raises:
            Refusal: ``worker_unavailable`` or ``worker_busy``; nothing has changed then.
        """
        worker = terminal.worker or self._room_worker(terminal)
        if worker is not None and worker.connection is None:
            raise Refusal(ErrorCode.WORKER_UNAVAILABLE, "The media worker is out of reach; try again soon.")
        if terminal.worker is not None:
            return
        # Nobody's place is taken away for who is away: two closed tabs would take it from each other in turn.
        present = terminal.connection is not None
        if worker is None:
            call = terminal.call("video", "reenacted")
            group = [terminal] if call is None else list(call.members.values())
            try:
                worker = self._choose(len(group)) if present else self._workers.choose(len(group))
            except Refusal:
                terminal.unserved = True
                raise
            if worker.free >= len(group):
                for member in group:
                    self._give(member, worker)
                return
        else:
            assert terminal.room is not None
            calling = terminal.room.shared_call("video") is not None
            full = worker.full and not (present and self._vacate([worker], 1))
            if full and calling:
                raise Refusal(ErrorCode.WORKER_BUSY, "The media worker of this call is full.")
            if full or (worker.draining and not calling):
                worker = self._move(terminal.room, worker)
        self._give(terminal, worker)

    def entered_room(self, terminal: Terminal) -> None:
        """A terminal whose own preview is on another worker than its new room's has to publish anew."""
        worker = self._room_worker(terminal)
        if worker is not None and terminal.worker is not None and terminal.worker is not worker:
            self._uproot(terminal)

    def release(self, terminal: Terminal) -> None:
        """Take the terminal off its worker, sessions and all."""
        worker = terminal.worker
        if worker is None:
            return
        del worker.drivers[terminal.id]
        worker.missed = [close for close in worker.missed if close.terminal != terminal.id]
        self._outbox.to_worker(worker, DriverGone(terminal=terminal.id))
        self._end_former(terminal)
        terminal.worker = None
        terminal.told = None
        terminal.status = None
        terminal.sessions.clear()

    def release_if_idle(self, terminal: Terminal) -> None:
        """Give the terminal's place at its worker back when neither a session nor a call needs it."""
        if not terminal.sessions and terminal.call("video", "reenacted") is None:
            self.release(terminal)

    def lost(self, terminals: list[Terminal]) -> None:
        """The worker of these terminals lost their sessions: they have to publish anew.

        Calls that another worker has room for are given to it as they are told, so that all members of one
        find their places there.
        """
        for terminal in terminals:
            self._uproot(terminal)
        for group in _by_room(terminals):
            calling = [terminal for terminal in group if terminal.call("video", "reenacted") is not None]
            other = self._room_for(calling)
            if other is not None and all(self._room_worker(terminal) is None for terminal in calling):
                for terminal in calling:
                    self._give(terminal, other)

    def evacuate(self, worker: Worker, now: float) -> None:
        """Move what runs at a draining worker to others, whole rooms at a time, as far as these have room.

        The terminals publish anew while their former sessions play on.
        """
        for group in _by_room(worker.drivers.values()):
            other = self._room_for(group)
            if other is not None:
                for terminal in group:
                    self._hand_over(terminal, other, now)

    def end_handovers(self, now: float) -> None:
        """Former sessions have played on for long enough."""
        for worker in self._state.workers.values():
            for terminal in list(worker.leaving.values()):
                if now >= terminal.former_until:
                    self._end_former(terminal)

    def worker_came(self) -> None:
        """Terminals that were refused for want of a worker need not wait for their next try."""
        for terminal in self._state.terminals.values():
            if terminal.unserved and terminal.worker is None and terminal.connection is not None:
                terminal.unserved = False
                self._outbox.to_terminal(terminal, WorkerGone())

    # ------------------------------------------------------------ details

    def _choose(self, places: int) -> Worker:
        """A worker that takes these many more, if need be in the places of terminals that seem to be gone.

        Raises:
            Refusal: ``worker_unavailable`` or ``worker_busy``.
        """
        try:
            return self._workers.choose(places)
        except Refusal:
            if not self._vacate(self._state.workers.values(), places):
                raise
            return self._workers.choose(places)

    def _vacate(self, workers: Iterable[Worker], places: int) -> bool:
        """Free up to so many places of one worker; those who held them publish anew if they come back.

        Returns:
            Whether it has a place now; nothing has changed if not.
        """
        takers = [worker for worker in workers if worker.connection is not None and not worker.draining]
        left = {w.id: [t for t in w.drivers.values() if t.abandoned] for w in takers}
        worker = max(takers, key=lambda w: len(left[w.id]), default=None)
        if worker is None:
            return False
        going = left[worker.id][:places]
        # what its next report will say itself
        load = max(0.0, worker.load - len(going) / max(worker.capacity, 1))
        if len(worker.drivers) - len(going) >= worker.capacity or load >= 1.0:
            return False
        worker.load = load
        for terminal in going:
            self._uproot(terminal)
        return True

    def _give(self, terminal: Terminal, worker: Worker) -> None:
        """Give a terminal without a worker to this one."""
        terminal.worker = worker
        terminal.unserved = False
        worker.drivers[terminal.id] = terminal
        self._announcer.driver_now(terminal)

    def _room_for(self, terminals: Sequence[Terminal]) -> Worker | None:
        """A worker with room for all of these."""
        if not terminals:
            return None
        try:
            worker = self._workers.choose(len(terminals))
        except Refusal:
            return None
        return worker if worker.free >= len(terminals) else None

    def _hand_over(self, terminal: Terminal, worker: Worker, now: float) -> None:
        """Give a terminal to another worker while its sessions at the present one play on."""
        former = terminal.worker
        if terminal.connection is None or former is None or former.connection is None:
            self._uproot(terminal)
            self._give(terminal, worker)
            return
        self._end_former(terminal)
        del former.drivers[terminal.id]
        former.leaving[terminal.id] = terminal
        play_on_s = self._state.limits.play_on_s
        terminal.former, terminal.former_until = former, now + play_on_s
        terminal.told = None
        terminal.sessions.clear()
        self._give(terminal, worker)
        self._outbox.to_terminal(terminal, WorkerGone(plays_on_s=play_on_s))

    def _end_former(self, terminal: Terminal) -> None:
        """End what plays on at the terminal's former worker."""
        former, terminal.former = terminal.former, None
        if former is not None:
            del former.leaving[terminal.id]
            self._outbox.to_worker(former, DriverGone(terminal=terminal.id))

    def _move(self, room: Room, former: Worker) -> Worker:
        """Another worker for a room without a call whose own takes nobody else; its members follow."""
        worker = self._workers.choose(1 + sum(member.worker is former for member in room.members.values()))
        for member in room.members.values():
            if member.worker is former:
                self._uproot(member)
        return worker

    def _room_worker(self, terminal: Terminal) -> Worker | None:
        """The worker of the other members of the terminal's room."""
        if terminal.room is None:
            return None
        others = (m.worker for m in terminal.room.members.values() if m is not terminal)
        return next((worker for worker in others if worker is not None), None)

    def _uproot(self, terminal: Terminal) -> None:
        self.release(terminal)
        if terminal.connection is None:
            terminal.media_lost = True
        else:
            self._outbox.to_terminal(terminal, WorkerGone())
