"""Replicas that apply the same log are the same, in whatever process, and from a snapshot on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from signaling.config import SignalingConfig
from signaling.grants import Denied, Grant
from signaling.protocol import TERMINAL_MESSAGE, ErrorCode
from signaling.replication.clock import LogClock, LogTokens
from signaling.replication.events import Event, NotOurs, read_event, seal, unseal, write_event
from signaling.replication.replica import NODE_SILENCE_S
from signaling.replication.snapshot import Snapshot, fingerprint
from signaling.replication.tail import Tail
from tests.unit.signaling.replication.random_log import RandomLog, new_replica, shown, state_of

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("seed", [1])
def test_processes_that_hash_differently_agree(seed: int) -> None:
    said = []
    for hash_seed in ("1", "4242"):
        program = [sys.executable, "-m", "tests.unit.signaling.replication.random_log", str(seed), "3000"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
        said.append(done.stdout.split())
    assert said[0] == said[1]
    # The log has gone through what there is.
    assert set(said[0]) > {"call.state", "relay.state", "session.signal", "media.lost", "text", "call.ended"}
    assert set(said[0]) > {"superseded", "worker.welcome", "media.status"}
    assert "internal" not in said[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_replica_from_a_snapshot_goes_on_alike(seed: int) -> None:
    log = RandomLog(seed)
    for _ in log.events(600):
        pass
    clock = LogClock()
    clock.advance(5_000)
    taken = Snapshot.of(log.replica, clock, "5000-0", ("", "")).to_json()
    other, tokens = new_replica()
    read = LogClock()
    Snapshot.from_json(taken).restore(other, read)
    assert (read.now, read.entry_ms) == (clock.now, clock.entry_ms)
    assert state_of(other) == state_of(log.replica)
    for entry, event, now, effects in log.events(600):
        tokens.seed(entry.encode())
        passed = read_event(write_event(event))
        assert passed == event
        assert [shown(e) for e in other.apply(passed, now)] == [shown(e) for e in effects]
    assert state_of(other) == state_of(log.replica)


def test_a_snapshot_of_another_version_is_refused() -> None:
    replica, _ = new_replica()
    snapshot = Snapshot.of(replica, LogClock(), "1-0", ("", ""))
    del snapshot.content["state"]["rooms"]
    with pytest.raises(ValueError, match="no state of this version"):
        snapshot.restore(new_replica()[0], LogClock())
    snapshot.content["records"] = [["Popen", []]]
    with pytest.raises(ValueError, match="no state of this version"):
        snapshot.restore(new_replica()[0], LogClock())


def test_fingerprint_tells_settings_apart() -> None:
    one = {"worker_secret": "s", "redis_url": "redis://a"}
    assert fingerprint(SignalingConfig(**one)) == fingerprint(SignalingConfig(**{**one, "redis_url": "b"}))
    assert fingerprint(SignalingConfig(**one)) != fingerprint(SignalingConfig(**one, resume_s=31))
    assert fingerprint(SignalingConfig(**one)) != fingerprint(SignalingConfig(**one, join_key="k"))


def test_redis_needs_a_secret() -> None:
    with pytest.raises(ValueError, match="needs worker_secret"):
        SignalingConfig(redis_url="redis://a")


def test_what_was_sealed_with_another_key_or_changed_is_found() -> None:
    sealed = seal(b"key", b"content")
    assert unseal(b"key", sealed) == b"content"
    for wrong in (sealed[:-1] + b"!", b"", b"content", seal(b"other", b"content")):
        with pytest.raises(NotOurs):
            unseal(b"key", wrong)


@pytest.mark.parametrize(
    "admission",
    [None, Grant("id", None, "Ada", "host", 12.5), Denied(ErrorCode.TOKEN_EXPIRED, "Too late.")],
)
def test_events_keep_what_the_gate_found(admission: Grant | Denied | None) -> None:
    hello = TERMINAL_MESSAGE.validate_python({"type": "hello", "name": "Ada"})
    event = Event(7, "terminal", (7 << 32) + 1, hello, admission)
    assert read_event(write_event(event)) == event


def test_an_outage_takes_no_time() -> None:
    clock = LogClock()
    start = clock.advance(1_000_000)
    assert clock.advance(1_000_250) == start + 0.25
    assert clock.advance(1_600_250) == start + 1.25  # ten minutes without an entry
    assert clock.advance(1_500_000) == start + 1.25  # a Redis whose clock was set back
    assert clock.epoch + clock.now == pytest.approx(1600.25)


def test_tokens_are_alike_and_never_the_same_twice() -> None:
    one, other, third = LogTokens(b"key"), LogTokens(b"key"), LogTokens(b"guess")
    drawn = []
    for entry in (b"1-0", b"1-1"):
        for tokens in (one, other, third):
            tokens.seed(entry)
        for size in (9, 32):
            drawn.append(one(size))
            assert other(size) == drawn[-1] != third(size)
    assert len(set(drawn)) == 4
    assert len(drawn[1]) == 43


def test_a_silent_node_takes_its_connections_along() -> None:
    replica, tokens = new_replica()
    for node in (1, 2):
        tokens.seed(b"%d" % node)
        hello = TERMINAL_MESSAGE.validate_python({"type": "hello", "name": f"N{node}"})
        replica.apply(Event(node, "terminal", (node << 32) + 1, hello), 100.0)
    replica.apply(Event(2, "heard"), 100.0 + NODE_SILENCE_S - 0.5)
    replica.apply(Event(2, "tick"), 100.0 + NODE_SILENCE_S)
    assert list(replica.nodes) == [2]
    assert [t.connection for t in replica.switchboard.state.terminals.values()] == [None, (2 << 32) + 1]
    replica.apply(Event(2, "left"), 104.0)
    assert replica.nodes == {}
    assert not replica.switchboard.state.by_connection


def test_what_a_slower_node_missed_of_a_log_that_ended() -> None:
    tail = Tail()
    for number in (8, 9, 10, 11):
        tail.append(f"5-{number}", b"%d" % number)
    assert Tail.missed(tail.to_json(), "5-9") == [("5-10", b"10"), ("5-11", b"11")]
    assert Tail.missed(tail.to_json(), "5-11") == []
    assert Tail.missed(tail.to_json(), "4-1") == []  # too far behind: it takes the snapshot instead
