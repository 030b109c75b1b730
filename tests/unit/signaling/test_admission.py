"""Who may connect and how fast: token buckets, addresses, origins; and the settings behind them."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from signaling.admission import AddressLimit, TokenBucket, client_address, network_of, origin_allowed
from signaling.config import SignalingConfig
from signaling.gate import Gate


def test_bucket_lets_a_burst_pass_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=50, burst=100, now=0.0)
    assert sum(bucket.take(0.0) for _ in range(150)) == 100
    assert sum(bucket.take(1.0) for _ in range(150)) == 50
    assert sum(bucket.take(100.0) for _ in range(150)) == 100


def test_connections_of_an_address_at_once() -> None:
    limit = AddressLimit(at_once=2, rate=100, burst=100)
    assert [limit.enter("a", 0.0) for _ in range(3)] == [True, True, False]
    assert limit.enter("b", 0.0)
    limit.leave("a")
    assert limit.enter("a", 0.0)


def test_connections_of_an_address_in_time() -> None:
    limit = AddressLimit(at_once=10, rate=1, burst=3)

    def come_and_go(now: float) -> bool:
        if limit.enter("a", now):
            limit.leave("a")
            return True
        return False

    assert sum(come_and_go(0.0) for _ in range(10)) == 3
    assert sum(come_and_go(2.0) for _ in range(10)) == 2


def test_addresses_are_forgotten() -> None:
    limit = AddressLimit(at_once=1, rate=1, burst=2)
    for number in range(1000):
        limit.enter(str(number), float(number))
        limit.leave(str(number))
    assert len(limit._buckets) < 5
    assert not limit._open


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "verdict"),
    [
        (None, "meet.example.org", (), True),  # no browser
        ("https://meet.example.org", "meet.example.org", (), True),
        ("http://meet.example.org", "meet.example.org", (), True),
        ("https://meet.example.org", "meet.example.org:443", (), True),
        ("http://localhost:8080", "localhost:8080", (), True),
        ("HTTP://LocalHost:8080", "localhost:8080", (), True),
        ("http://[::1]:8080", "[::1]:8080", (), True),
        ("http://localhost:8081", "localhost:8080", (), False),
        ("https://evil.example", "meet.example.org", (), False),
        ("https://meet.example.org.evil.example", "meet.example.org", (), False),
        ("null", "meet.example.org", (), False),
        ("", "meet.example.org", (), False),
        ("file://", "meet.example.org", (), False),
        ("http://x:99999999", "meet.example.org", (), False),
        ("http://[", "meet.example.org", (), False),
        ("https://other.example", "meet.example.org", ("https://other.example/",), True),
        ("https://other.example:444", "meet.example.org", ("https://other.example",), False),
        ("https://any.example", "meet.example.org", ("*",), True),
    ],
)
def test_origins(origin: str | None, host: str, allowed: tuple[str, ...], verdict: bool) -> None:
    assert origin_allowed(origin, host, allowed) is verdict


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([], "10.0.0.1"),
        (["203.0.113.9"], "203.0.113.9"),
        (["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
        (["1.2.3.4", "203.0.113.9"], "203.0.113.9"),  # HAProxy
        (["1.2.3.4", "5.6.7.8 , 203.0.113.9"], "203.0.113.9"),
        (["", " , "], "10.0.0.1"),
    ],
)
def test_only_the_proxys_own_entry_names_the_client(lines: list[str], address: str) -> None:
    headers = CIMultiDict([("X-Forwarded-For", line) for line in lines])
    gate = Gate(SignalingConfig(forwarded_header="x-forwarded-for"))
    assert gate.address("10.0.0.1", headers) == address
    assert client_address("10.0.0.1", headers, "x-forwarded-for") == address
    assert client_address("10.0.0.1", headers, None) == "10.0.0.1"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"resume_s": -1}, "resume_s"),
        ({"room_capacity": 1}, "room_capacity"),
        ({"heartbeat_s": 5, "silent_after_s": 5}, "silent_after_s"),
        ({"message_burst": 0}, "message_burst"),
    ],
)
def test_senseless_settings(values: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SignalingConfig(**values)


def test_silence_follows_the_heartbeat() -> None:
    assert SignalingConfig().limits.silence_s == 8.0
    assert SignalingConfig(heartbeat_s=6).limits.silence_s == 16.0
    assert SignalingConfig(heartbeat_s=6, silent_after_s=7).limits.silence_s == 7


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_household_has_a_network_of_ipv6(address: str, network: str) -> None:
    assert network_of(address) == network


def test_limits_of_an_address_are_not_evaded_by_the_next_of_its_network() -> None:
    gate = Gate(SignalingConfig(connections_per_address=2))
    assert [gate.enter(f"2001:db8::{number}", 0.0) for number in range(3)] == [True, True, False]
    assert gate.enter("2001:db8:0:1::1", 0.0), "another household"
    gate.leave("2001:db8::1")
    assert gate.enter("2001:db8::7", 0.0)
