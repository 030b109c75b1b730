"""How nodes agree on one log: which one there is in a Redis, and who begins it where there is none.

A Redis that was started anew may have lost some of the log, or all of it, while the nodes still hold the
state in memory. So each run of a Redis server gets a log of its own, which begins with the state of the node
that got furthest in the log before.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from signaling.replication.events import NotOurs, seal, unseal

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX: Final = "understudy:"
LOG_RECORD: Final = PREFIX + "log"
LEADER: Final = PREFIX + "leader"
#: All nodes that lost the former log have come forward after this long, seconds.
ELECTION_S: Final = 0.7
CLAIM_MS: Final = 5_000


class Incompatible(Exception):
    """The log is that of nodes with another version, other settings or another secret; ``str()`` says so."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """Which log there is.

    Attributes:
        epoch: names the log.
        run: the run of the Redis server that it belongs to.
        fingerprint: of the nodes that work on it.
    """

    epoch: str
    run: str
    fingerprint: str

    @property
    def stream(self) -> str:
        return f"{PREFIX}{self.epoch}:events"

    @property
    def snapshot(self) -> str:
        return f"{PREFIX}{self.epoch}:snapshot"

    def to_json(self) -> bytes:
        return json.dumps([self.epoch, self.run, self.fingerprint]).encode()


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """How far a node got, for comparison: whether it has a state at all, entry, and its number."""

    has_state: bool
    entry: tuple[int, ...]
    node: int


class Membership:
    """Finds or begins the log of a Redis.

    Args:
        redis: the server.
        key: the cluster's.
        fingerprint: of this node.
    """

    def __init__(self, redis: Redis, key: bytes, fingerprint: str) -> None:
        self._redis: Any = redis  # its annotations mix those of the client that blocks
        self._key = key
        self._fingerprint = fingerprint

    async def run_id(self) -> str:
        """Names the present run of the Redis server."""
        info: dict[str, Any] = await self._redis.info("server")
        return str(info["run_id"])

    async def record(self) -> LogRecord | None:
        """The log that the nodes work or worked on.

        Raises:
            Incompatible: it is another cluster's, and that one is alive.
        """
        written = await self._redis.get(LOG_RECORD)
        if written is None:
            return None
        alive = bool(await self._redis.exists(LEADER))
        try:
            record = LogRecord(*json.loads(unseal(self._key, written)))
        except (NotOurs, ValueError, TypeError):
            if alive:
                raise Incompatible(
                    "The signaling nodes of this Redis have another worker_secret; all must share one."
                ) from None
            return None
        if record.fingerprint != self._fingerprint:
            if alive:
                raise Incompatible(
                    "The signaling nodes of this Redis run another version or other settings (limits, "
                    "relays, join key or not); all must be the same. This node waits for their end."
                )
            return None
        return record

    async def may_begin(self, run: str, me: Candidate) -> bool:
        """Whether this node is the one to begin the log of a run; the others will find it in a moment."""
        candidates = f"{PREFIX}candidates:{run}"
        await self._redis.hset(candidates, str(me.node), json.dumps([me.has_state, me.entry]))
        await self._redis.expire(candidates, 10)
        await asyncio.sleep(ELECTION_S)
        present: dict[bytes, bytes] = await self._redis.hgetall(candidates)
        best = max(
            (
                Candidate(c[0], tuple(c[1]), int(n))
                for n, c in ((n, json.loads(c)) for n, c in present.items())
            ),
            default=me,
        )
        if best > me:
            # It may have died since; its claim, or its absence from the next round, decides.
            await asyncio.sleep(ELECTION_S)
            await self._redis.hdel(candidates, str(best.node))
            return False
        return bool(await self._redis.set(f"{PREFIX}claim:{run}", str(me.node), nx=True, px=CLAIM_MS))

    def new_record(self, run: str) -> LogRecord:
        return LogRecord(secrets.token_hex(8), run, self._fingerprint)

    def sealed(self, record: LogRecord) -> bytes:
        """What stands under :data:`LOG_RECORD`."""
        return seal(self._key, record.to_json())
