"""The log of several nodes: a Redis stream. Appends this node's events, applies everybody's in its order.

While the Redis is out of reach nothing is closed, events are refused, and the state machine's clock stands
still; all goes on once it is back, with its data or empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from signaling.config import SignalingConfig
from signaling.replication.clock import LogClock, LogTokens
from signaling.replication.events import (
    Event,
    NotOurs,
    derived_key,
    read_event,
    seal,
    unseal,
    write_event,
)
from signaling.replication.log import Perform
from signaling.replication.membership import (
    LEADER,
    LOG_RECORD,
    Candidate,
    Incompatible,
    LogRecord,
    Membership,
)
from signaling.replication.replica import Replica
from signaling.replication.snapshot import Snapshot, fingerprint
from signaling.replication.tail import Tail, place
from signaling.replication.together import cancelled, first_failure
from signaling.state import ConnectionId

logger = logging.getLogger(__name__)

READ_BLOCK_MS: Final = 500
READ_ENTRIES: Final = 1000
APPEND_ENTRIES: Final = 500
BEAT_S: Final = 1.0  # a node is heard of this often, and with it the connections that it heard from
LEASE_S: Final = 0.4  # the leader's place is renewed this often ...
LEADER_MS: Final = 1500  # ... and free when it was not for this long
SNAPSHOT_S: Final = 10.0
RETRY_S: Final = 0.3
ANSWER_S: Final = 2.5  # a Redis that does not answer for this long is out of reach
STALE_S: Final = 5.0  # who did not read for so long may have missed entries that were trimmed
WAITING_EVENTS: Final = 20_000
KEPT_EVENTS: Final = 2_000  # of workers, over an outage


class _Interrupted(Exception):
    """The log has ended or this node fell out of it: join anew."""


class RedisLog:
    """Puts the events of all nodes in one order.

    Args:
        url: of the Redis server.
        config: of signaling; ``worker_secret`` also keeps strangers from writing to the log.
        replica: the state machine; its tokens must come from ``tokens``.
        tokens: seeded here for each event.
        perform: carries effects out.
        refuse: told of an event of this node that could not be appended.
        connections: this node's open connections.
        resync: told that the state machine took this node's connections for lost, or has another history than
            they know; ``True``: all of them, ``False``: those that it does not have any more.
    """

    def __init__(
        self,
        url: str,
        config: SignalingConfig,
        replica: Replica,
        tokens: LogTokens,
        *,
        perform: Perform,
        refuse: Callable[[Event], None],
        connections: Callable[[], tuple[ConnectionId, ...]],
        resync: Callable[[bool], None],
    ) -> None:
        self.node = secrets.randbelow(2**31 - 1) + 1
        self.trouble: str | None = "Signaling has not reached its Redis yet."
        self.events_applied = 0
        self._replica = replica
        self._tokens = tokens
        self._perform = perform
        self._refuse = refuse
        self._connections = connections
        self._resync = resync
        self._key = derived_key(config.worker_secret, "log")
        self._redis: Any = Redis.from_url(
            url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            protocol=2,
        )
        self._membership = Membership(self._redis, self._key, fingerprint(config))
        self._clock = LogClock()
        self._record: LogRecord | None = None
        self._entry = "0-0"
        self._snapshot_entry = "0-0"
        self._tail = Tail()
        self._joining = False  # has appended that it takes part and not read it yet
        self._joined = asyncio.Event()
        self._leads = False
        self._waiting: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._heard: set[ConnectionId] = set()
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ for the sockets

    @property
    def now(self) -> float:
        return self._clock.now

    def submit(self, event: Event) -> None:
        if self.trouble is not None:
            self._put_off(event)
            return
        if len(self._waiting) >= WAITING_EVENTS:
            self._refuse(event)
            return
        self._waiting.append(event)
        self._wake.set()

    def heard(self, connection: ConnectionId) -> None:
        self._heard.add(connection)

    def tick(self) -> None:
        if self._leads and self.trouble is None:
            self.submit(Event(self.node, "tick"))

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="signaling-log")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._joined.wait()

    async def stop(self) -> None:
        if self.trouble is None and self._record is not None:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                entry = self._sealed(Event(self.node, "left"))
                await self._redis.xadd(self._record.stream, entry, nomkstream=True)
                if self._leads:
                    await self._redis.delete(LEADER)
        if self._task is not None:
            await cancelled({self._task})
        await self._redis.aclose()

    def _put_off(self, event: Event) -> None:
        """Nothing can be appended: events of workers wait, of terminals are refused, the rest is mended."""
        if event.kind == "worker":
            if len(self._waiting) < KEPT_EVENTS:
                self._waiting.append(event)
        elif event.kind == "terminal":
            self._refuse(event)

    # ------------------------------------------------------------ life

    async def _run(self) -> None:
        while True:
            why = "Signaling's Redis is out of reach; calls go on, new ones can begin as soon as it is back."
            try:
                await self._join()
                await first_failure(
                    self._read(), self._append(), self._beat(), self._lead(), self._write_snapshots()
                )
            except Incompatible as error:
                why = str(error)
            except (RedisError, OSError, TimeoutError, _Interrupted) as error:
                logger.debug("Left the log: %r", error)
            except Exception:
                logger.exception("The log failed")
            self._stand_by(why)
            await asyncio.sleep(RETRY_S)

    def _stand_by(self, why: str) -> None:
        if self.trouble != why:
            logger.warning("%s", why)
        self.trouble = why
        self._leads = self._joining = False
        self._joined.clear()
        waiting, self._waiting = self._waiting, deque()
        for event in waiting:
            self._put_off(event)

    async def _join(self) -> None:
        """Get this replica to where the log is, or begin the log."""
        while True:
            run = await self._membership.run_id()
            record = await self._membership.record()
            if record is not None and record.run == run:
                await self._enter(record)
                return
            if record is not None and self._record is None:
                # All nodes and the Redis were started anew; what it has kept is the best there is.
                with contextlib.suppress(_Interrupted, NotOurs, ValueError):
                    await self._enter(record)
                    await self._catch_up()
            entry = tuple(map(int, self._entry.split("-")))
            if await self._membership.may_begin(run, Candidate(self._record is not None, entry, self.node)):
                await self._begin(run)

    async def _begin(self, run: str) -> None:
        """Begin a log with this replica's state."""
        record = self._membership.new_record(run)
        before = ("" if self._record is None else self._record.epoch, self._entry)
        entry = (await self._redis.xadd(record.stream, self._sealed(Event(0, "started")))).decode()
        # The clock goes on from here: what it cannot know about, the outage, has taken no time.
        self._clock.entry_ms = int(entry.partition("-")[0])
        if self._clock.now == 0.0:
            self._clock.now = self._clock.entry_ms / 1000
        snapshot = Snapshot.of(self._replica, self._clock, entry, before)
        pipe = self._redis.pipeline(transaction=True)
        pipe.hset(
            record.snapshot,
            mapping={
                "state": seal(self._key, snapshot.to_json()),
                "tail": seal(self._key, self._tail.to_json()),
                "trimmed": "0-0",
            },
        )
        pipe.set(LOG_RECORD, self._membership.sealed(record))
        await pipe.execute()
        logger.info("Began a log for signaling's nodes.")

    async def _enter(self, record: LogRecord) -> None:
        """Take a log up where this replica is in it, or at its snapshot."""
        if self._record is not None and record.epoch == self._record.epoch:
            trimmed = await self._redis.hget(record.snapshot, "trimmed")
            if trimmed is not None and place(trimmed.decode()) <= place(self._entry):
                return
        written, tail = await self._redis.hmget(record.snapshot, "state", "tail")
        if written is None:
            raise _Interrupted
        snapshot = Snapshot.from_json(unseal(self._key, written))
        epoch = "" if self._record is None else self._record.epoch
        if tail is not None and epoch == snapshot.before[0]:
            for entry, sealed in Tail.missed(unseal(self._key, tail), self._entry):
                self._apply(entry, sealed)
        known = self._record is not None and snapshot.before == (epoch, self._entry)
        self._tail.clear()
        snapshot.restore(self._replica, self._clock)
        self._record, self._entry, self._snapshot_entry = record, snapshot.entry, snapshot.entry
        if not known:
            self._resync(True)

    # ------------------------------------------------------------ reading

    async def _read(self) -> None:
        await self._catch_up()
        connections = self._connections()
        self._waiting = deque(event for event in self._waiting if event.connection in connections)
        self._joining = True
        await self._append_now([Event(self.node, "joined", connections=connections)])
        while True:
            started = time.monotonic()
            count = await self._read_some(READ_BLOCK_MS)
            if time.monotonic() - started > STALE_S:
                raise _Interrupted
            if count == READ_ENTRIES:
                await asyncio.sleep(0)

    async def _catch_up(self) -> None:
        count = 1
        while count:
            count = await self._read_some(None)

    async def _read_some(self, block_ms: int | None) -> int:
        assert self._record is not None
        answer: Any = await self._redis.xread(
            {self._record.stream: self._entry}, count=READ_ENTRIES, block=block_ms
        )
        entries = answer[0][1] if answer else []
        for entry, fields in entries:
            self._apply(entry.decode(), fields.get(b"e", b""))
        return len(entries)

    def _apply(self, entry: str, sealed: bytes) -> None:
        self._entry = entry
        self._tail.append(entry, sealed)
        now = self._clock.advance(int(entry.partition("-")[0]))
        try:
            event = read_event(unseal(self._key, sealed))
        except (NotOurs, ValueError):
            logger.exception("An entry of the log cannot be read")
            return
        assert self._record is not None
        self._tokens.seed(f"{self._record.epoch} {entry}".encode())
        self._replica.switchboard.state.epoch = self._clock.epoch
        own = event.node == self.node
        present = self.node in self._replica.nodes
        self._perform(self._replica.apply(event, now), own)
        self.events_applied += 1
        if own and event.kind == "joined" and self._joining:
            self._joining = False
            self._resync(False)
            self.trouble = None
            self._joined.set()
            self._wake.set()
            logger.info("Takes part in the log of %d signaling nodes.", len(self._replica.nodes))
        elif present and self.node not in self._replica.nodes:
            self._resync(False)  # the others took it for dead

    # ------------------------------------------------------------ writing

    def _sealed(self, event: Event) -> dict[Any, Any]:
        return {"e": seal(self._key, write_event(event))}

    async def _append(self) -> None:
        await self._joined.wait()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), APPEND_ENTRIES))]
                await self._append_now(batch)

    async def _append_now(self, batch: list[Event]) -> None:
        assert self._record is not None
        try:
            pipe = self._redis.pipeline(transaction=False)
            for event in batch:
                pipe.xadd(self._record.stream, self._sealed(event), nomkstream=True)
            entries = await pipe.execute()
        except (RedisError, OSError, TimeoutError, asyncio.CancelledError):
            # Cancelled: a Redis that has stalled kept a read waiting for longer, and that gave up first.
            self._give_up(batch)
            raise
        if None in entries:
            self._give_up([event for event, entry in zip(batch, entries, strict=True) if entry is None])
            raise _Interrupted

    def _give_up(self, batch: list[Event]) -> None:
        """Whether these were appended nobody knows; their senders are told that they may not have been."""
        for event in batch:
            if event.kind == "terminal":
                self._refuse(event)

    async def _beat(self) -> None:
        await self._joined.wait()
        while True:
            await asyncio.sleep(BEAT_S)
            heard, self._heard = self._heard, set()
            self.submit(Event(self.node, "heard", connections=tuple(sorted(heard))))

    # ------------------------------------------------------------ leading

    async def _lead(self) -> None:
        """Hold or seek the leader's place: it lets time pass and writes snapshots."""
        await self._joined.wait()
        me = str(self.node).encode()
        while True:
            assert self._record is not None
            leader, written = await self._redis.mget(LEADER, LOG_RECORD)
            record = None if written is None else unseal(self._key, written)
            if record != self._record.to_json():
                raise _Interrupted  # emptied, or begun anew
            if leader == me:
                self._leads = bool(await self._redis.pexpire(LEADER, LEADER_MS))
            else:
                self._leads = leader is None and bool(
                    await self._redis.set(LEADER, me, nx=True, px=LEADER_MS)
                )
            await asyncio.sleep(LEASE_S)

    async def _write_snapshots(self) -> None:
        await self._joined.wait()
        while True:
            await asyncio.sleep(SNAPSHOT_S)
            if not self._leads:
                continue
            assert self._record is not None
            entry, trimmed = self._entry, self._snapshot_entry
            snapshot = Snapshot.of(self._replica, self._clock, entry, ("", ""))
            pipe = self._redis.pipeline(transaction=True)
            pipe.hset(
                self._record.snapshot,
                mapping={"state": seal(self._key, snapshot.to_json()), "trimmed": trimmed},
            )
            # One snapshot back, so that who reads a little behind misses nothing.
            pipe.xtrim(self._record.stream, minid=trimmed)
            await pipe.execute()
            self._snapshot_entry = entry
