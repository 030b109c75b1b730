"""``understudy loadtest --signaling-only``: a hundred terminals; what is refused or does not ring counts."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from server.loadtest.service import Access, Address
from server.loadtest.signaling import SignalingLoad, SignalingOptions, SignalingReport
from signaling.relays import Relays
from signaling.texts import Texts
from tests.load.conftest import Serve
from tests.load.service import FakeService


async def load(service: FakeService, terminals: int, rooms: int, seconds: float = 2.0) -> SignalingReport:
    options = SignalingOptions(
        terminals=terminals,
        rooms=rooms,
        seconds=seconds,
        ramp_s=0.5,
        every_s=1.0,
        room_prefix="load",
        max_relay_ms=5_000,  # other things may run on the machine
    )
    return await SignalingLoad(Address.of(service.url), Access(), options).run()


async def test_a_hundred_terminals(serve: Serve) -> None:
    service = await serve(connections_per_address=200, connects_per_second=1000, connect_burst=1000)
    report = await load(service, 100, 50)
    assert report.lost == {}
    assert report.connected == 100
    assert report.relays >= 100
    assert 0 < report.relay.p50 <= report.relay.p99 <= report.relay.most
    assert report.text.p50 > 0
    assert report.ok
    assert json.loads(report.as_json())["ok"] is True


async def test_more_than_two_in_a_room(serve: Serve) -> None:
    report = await load(await serve(), 10, 3)
    assert report.lost == {}
    assert report.relays >= 2 * 7  # each call rings at all others


async def test_refused_connections_are_counted(serve: Serve) -> None:
    report = await load(await serve(connections_per_address=11), 20, 10, seconds=1.0)
    assert report.lost["refused HTTP 429"] == 10  # the worker has one of the eleven
    assert report.lost["not in a room"] == 10
    assert not report.ok


async def test_a_call_that_does_not_ring_is_counted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.loadtest.signaling._PATIENCE_S", 0.5)
    monkeypatch.setattr(Relays, "request", lambda *arguments: None)
    report = await load(await serve(), 2, 1, seconds=0.5)
    assert report.lost["not_rung"] == 1
    assert report.lost["not_in_call"] == 2
    assert not report.ok


async def test_a_lost_text_is_counted(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    passed_on: Callable[..., None] = Texts.send
    count = iter(range(1000))

    def loses_one(*arguments: object) -> None:
        if next(count) != 1:
            passed_on(*arguments)

    monkeypatch.setattr(Texts, "send", loses_one)
    report = await load(await serve(), 4, 2, seconds=1.5)
    assert report.lost == {"text lost": 1}


async def test_a_slow_service_is_not_well(serve: Serve) -> None:
    options = SignalingOptions(
        terminals=2, rooms=1, seconds=0.5, ramp_s=0, every_s=0.5, room_prefix="load", max_relay_ms=0.001
    )
    report = await SignalingLoad(Address.of((await serve()).url), Access(), options).run()
    assert report.lost == {}
    assert not report.ok
