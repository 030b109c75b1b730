"""One node's copy of the state machine: applies the log's events, whichever node they came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from typing import Final

from signaling.effects import Effect
from signaling.log_context import log_context
from signaling.protocol import ErrorCode
from signaling.replication.events import Event, node_of
from signaling.state import ConnectionId
from signaling.switchboard import Switchboard

logger = logging.getLogger(__name__)

#: A node that appends nothing for this long (seconds of the log) is dead.
NODE_SILENCE_S: Final = 3.0
INTERNAL_SENTENCE: Final = "The server failed on this message."


class Replica:
    """The state machine and the nodes that feed it.

    Equal replicas that apply equal events at equal times stay equal and name equal effects.

    Attributes:
        switchboard: the state machine.
        nodes: when each living node was last heard of, seconds of the log's clock.
    """

    def __init__(self, switchboard: Switchboard) -> None:
        self.switchboard = switchboard
        self.nodes: dict[int, float] = {}

    def apply(self, event: Event, now: float) -> list[Effect]:
        """Take the next event.

        Args:
            event: of any node.
            now: seconds; never less than before.

        Returns:
            What is to be done on all nodes' connections.
        """
        if event.node:
            self.nodes[event.node] = now
        board, connection = self.switchboard, event.connection
        match event.kind:
            case "terminal":
                return self._terminal(event, now)
            case "worker":
                return self._worker(event, now)
            case "terminal_lost":
                return board.disconnected(connection, now)
            case "worker_lost":
                return board.worker_disconnected(connection, now)
            case "heard":
                effects: list[Effect] = []
                for heard in event.connections:
                    effects += board.heard(heard, now)
                return effects
            case "joined":
                return self._drop(event.node, now, but=frozenset(event.connections))
            case "left":
                del self.nodes[event.node]
                return self._drop(event.node, now)
            case "tick":
                return self._tick(now)
            case "started":
                return []

    def _terminal(self, event: Event, now: float) -> list[Effect]:
        board, connection = self.switchboard, event.connection
        try:
            return board.receive(connection, event.message, now, event.admission)
        except Exception:
            terminal = board.state.by_connection.get(connection)
            calls = None if terminal is None else ",".join(call.id for call in terminal.calls())
            with log_context(terminal=None if terminal is None else terminal.id, call=calls):
                logger.exception("A terminal's message failed")
            return board.refuse(connection, ErrorCode.INTERNAL, INTERNAL_SENTENCE, None, now)

    def _worker(self, event: Event, now: float) -> list[Effect]:
        try:
            return self.switchboard.worker_receive(event.connection, event.message, now)
        except Exception:
            logger.exception("A worker's message failed")
            return self.switchboard.worker_refuse(event.connection, ErrorCode.INTERNAL, INTERNAL_SENTENCE)

    def _tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for node, last_heard in list(self.nodes.items()):
            if now - last_heard >= NODE_SILENCE_S:
                logger.warning("Signaling node %x is gone; its terminals may come back elsewhere.", node)
                del self.nodes[node]
                effects += self._drop(node, now)
        try:
            return effects + self.switchboard.tick(now)
        except Exception:
            logger.exception("The passing of time failed")
            return effects

    def _drop(self, node: int, now: float, but: Container[ConnectionId] = ()) -> list[Effect]:
        """A node's connections are lost."""
        board, state = self.switchboard, self.switchboard.state
        effects: list[Effect] = []
        ends: tuple[tuple[dict[ConnectionId, object], Callable[..., list[Effect]]], ...] = (
            (dict(state.by_connection), board.disconnected),
            (dict(state.worker_by_connection), board.worker_disconnected),
        )
        for connections, end in ends:
            for connection in connections:
                if node_of(connection) == node and connection not in but:
                    effects += end(connection, now)
        return effects
