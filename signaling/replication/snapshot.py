"""The whole replica at one entry of the log: written for nodes that start later, read by them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from signaling.config import SignalingConfig
from signaling.replication.clock import LogClock
from signaling.replication.events import derived_key
from signaling.replication.records import dump_state, load_state, schema
from signaling.replication.replica import Replica


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A replica's state.

    Attributes:
        entry: id of the last entry that was applied.
        before: epoch and entry that the replica had reached in the log before this one, if there was one.
        content: clock, nodes and state, as JSON can hold them.
    """

    entry: str
    before: tuple[str, str]
    content: dict[str, Any]

    @classmethod
    def of(cls, replica: Replica, clock: LogClock, entry: str, before: tuple[str, str]) -> Snapshot:
        content = {
            "now": clock.now,
            "entry_ms": clock.entry_ms,
            "nodes": list(replica.nodes.items()),
            **dump_state(replica.switchboard.state),
        }
        return cls(entry, before, content)

    def restore(self, replica: Replica, clock: LogClock) -> None:
        """Make the replica what it was.

        Raises:
            ValueError: the snapshot is of another version.
        """
        load_state(self.content, replica.switchboard.state)
        replica.nodes = {int(node): float(heard) for node, heard in self.content["nodes"]}
        clock.now, clock.entry_ms = float(self.content["now"]), int(self.content["entry_ms"])

    def to_json(self) -> bytes:
        return json.dumps([self.entry, self.before, self.content], separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Snapshot:
        entry, before, content = json.loads(text)
        return cls(entry, (before[0], before[1]), content)


def fingerprint(config: SignalingConfig) -> str:
    """A word for all that makes replicas equal: the program's version and the settings that its state
    machine runs by. Nodes with different words cannot work on one log.
    """
    try:
        program = version("understudy")
    except PackageNotFoundError:
        program = "unknown"
    facts = [
        program,
        schema(),
        asdict(config.limits),
        [server.model_dump() for server in config.ice_servers],
        [config.turn_urls, config.turn_ttl_s, derived_key(config.turn_secret, "fingerprint").hex()],
        bool(config.join_key),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
