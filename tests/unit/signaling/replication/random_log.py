"""A long random log of three nodes' events, applied as it is made; run by itself it prints what came of it.

Usage: random_log.py SEED EVENTS
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from typing import Any

from signaling.effects import Close, Effect, Record, Send, Tally
from signaling.grants import Admission, Grant
from signaling.protocol import TERMINAL_MESSAGE, WORKER_MESSAGE, encode
from signaling.replication.clock import LogTokens
from signaling.replication.events import NODE_SHIFT, Event
from signaling.replication.records import dump_state
from signaling.replication.replica import Replica
from signaling.state import Limits
from signaling.switchboard import Switchboard

SECRET = "between us"
OFFER = {"type": "offer", "sdp": "v=0"}


def new_replica() -> tuple[Replica, LogTokens]:
    tokens = LogTokens(b"key")
    limits = Limits(silence_s=4, resume_s=6, ring_timeout_s=10, room_capacity=5)
    return Replica(Switchboard(limits, tokens, worker_secret=SECRET, epoch=1e9)), tokens


def shown(effect: Effect) -> str:
    match effect:
        case Send(connection, message):
            return f"send {connection} {encode(message)}"
        case Close() | Tally() | Record():
            return repr(effect)


def state_of(replica: Replica) -> str:
    return json.dumps([dump_state(replica.switchboard.state), list(replica.nodes.items())])


class RandomLog:
    """Draws events that mostly make sense in the state that those before led to."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.replica, self.tokens = new_replica()
        self.now = 100.0
        self.number = 0
        self.connections: list[int] = []
        self.worker_connections: list[int] = []

    def events(self, count: int) -> Iterator[tuple[str, Event, float, list[Effect]]]:
        """Entry name, event, time and effects."""
        for index in range(count):
            self.now += self.random.expovariate(4)
            event, entry = self.event(), f"entry-{index}"
            self.tokens.seed(entry.encode())
            yield entry, event, self.now, self.replica.apply(event, self.now)

    def event(self) -> Event:
        draw, node = self.random, self.random.choice([1, 2, 3])
        kind = draw.choices(
            ["message", "hello", "lost", "worker", "worker_new", "worker_lost", "tick", "heard", "joined"],
            [60, 6, 2, 16, 4, 0.5, 6, 10, 0.3],
        )[0]
        state = self.replica.switchboard.state
        here = [c for c in state.by_connection if c >> NODE_SHIFT == node]
        match kind:
            case "message" if state.by_connection:
                connection = draw.choice(list(state.by_connection))
                message = TERMINAL_MESSAGE.validate_python(self.message(state.by_connection[connection]))
                return Event(connection >> NODE_SHIFT, "terminal", connection, message)
            case "hello":
                self.number += 1
                connection = (node << NODE_SHIFT) + self.number
                hello: dict[str, Any] = {"type": "hello", "name": f"T{self.number}", "id": "h"}
                if state.by_token and draw.random() < 0.5:
                    hello["resume"] = draw.choice(list(state.by_token))
                admission: Admission = draw.choice([None, Grant("g", "R1", "Guest", "host", self.now + 50)])
                return Event(node, "terminal", connection, TERMINAL_MESSAGE.validate_python(hello), admission)
            case "lost" if here:
                return Event(node, "terminal_lost", draw.choice(here))
            case "worker" if state.worker_by_connection:
                connection = draw.choice(list(state.worker_by_connection))
                worker = WORKER_MESSAGE.validate_python(
                    self.worker_message(state.worker_by_connection[connection])
                )
                return Event(connection >> NODE_SHIFT, "worker", connection, worker)
            case "worker_new":
                self.number += 1
                name = f"w{draw.randrange(5)}"
                said = {
                    "type": "worker.hello",
                    "worker": name,
                    "secret": SECRET,
                    "capacity": draw.randint(2, 9),
                }
                said |= {"capacity": draw.randint(2, 9), "instance": draw.choice(["i1", "i1", "i2"])}
                return Event(
                    node, "worker", (node << NODE_SHIFT) + self.number, WORKER_MESSAGE.validate_python(said)
                )
            case "worker_lost" if state.worker_by_connection:
                connection = draw.choice(list(state.worker_by_connection))
                return Event(connection >> NODE_SHIFT, "worker_lost", connection)
            case "joined":
                return Event(node, "joined", connections=tuple(here[: draw.randint(0, len(here))]))
            case "heard":
                return Event(node, "heard", connections=tuple(here))
        return Event(node, "tick")

    def message(self, terminal: Any) -> dict[str, Any]:
        draw, room = self.random, terminal.room
        peers = [] if room is None else list(room.members)
        requests = [] if room is None else list(room.requests)
        peer = draw.choice(peers) if peers else "nobody"
        request = draw.choice(requests) if requests else "r0"
        mode = draw.choice(["reenacted", "reenacted", "direct"])
        calls = [call.id for call in terminal.calls()] or ["c0"]
        choices: list[dict[str, Any]] = [
            {"type": "room.join", "room": draw.choice(["R1", "R2", "R3"])},
            {"type": "room.create"},
            {"type": "relay.request", "kind": draw.choice(["video", "text"]), "mode": mode},
            {"type": "relay.request", "kind": "video", "mode": mode, "to": [peer]},
            {"type": "relay.accept", "request": request, "mode": mode},
            {"type": "relay.decline", "request": request},
            {"type": "call.leave", "call": draw.choice(calls)},
            {"type": "target.select", "target": draw.choice(["mona", "lisa"])},
            {"type": "media.set", "camera": draw.random() < 0.5, "microphone": True},
            {"type": "media.signal", "channel": "publish", "session": f"s{draw.randrange(99)}"}
            | {"description": OFFER},
            {"type": "media.signal", "channel": "subscribe", "session": f"s{draw.randrange(99)}"}
            | {"peer": peer, "description": OFFER},
            {"type": "text.send", "text": "Hello"},
            {"type": "bye"},
        ]
        weights = [8, 1, 8, 4, 12, 2, 2, 3, 3, 8, 8, 6, 0.5]
        return {"id": "m", **draw.choices(choices, weights)[0]}

    def worker_message(self, worker: Any) -> dict[str, Any]:
        draw = self.random
        if worker.drivers and draw.random() < 0.6:
            terminal = draw.choice(list(worker.drivers))
            return {"type": "worker.status", "terminal": terminal, "state": draw.choice(["live", "no_face"])}
        return {
            "type": "worker.load",
            "load": draw.random() / 2,
            "drivers": 1,
            "draining": draw.random() < 0.1,
        }


def main(seed: int, count: int) -> None:
    log, digest = RandomLog(seed), hashlib.sha256()
    sent: set[str] = set()
    for entry, event, now, effects in log.events(count):
        lines = [shown(effect) for effect in effects]
        for effect in effects:
            if isinstance(effect, Send):
                sent.add(str(getattr(effect.message, "code", effect.message.model_dump()["type"])))
        digest.update(repr((entry, event.kind, event.connection, now, lines)).encode())
    digest.update(state_of(log.replica).encode())
    print(digest.hexdigest(), *sorted(sent))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
