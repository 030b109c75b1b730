"""``understudy loadtest``: a right service passes; each kind of wrong one is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from server.bench.driver import Film
from server.loadtest.calls import CallLoad, CallOptions
from server.loadtest.results import Bounds, CallReport
from server.loadtest.service import Access, Address
from signaling.texts import Texts
from tests.load.conftest import Serve
from tests.load.service import FakeService, Showing

#: Loose: other things may run on the machine.
BOUNDS = Bounds(min_fps=2, max_freeze_s=2.5, max_sound_lost=0.5)


async def load(service: FakeService, film: Film, calls: int = 1, seconds: float = 3.5) -> CallReport:
    options = CallOptions(
        calls=calls, seconds=seconds, ramp_s=0.2, room_prefix="load", text_every_s=0.4, bounds=BOUNDS
    )
    return await CallLoad(Address.of(service.url), Access(), options, film).run()


async def test_a_right_service_passes(serve: Serve, film: Film) -> None:
    report = await load(await serve(), film, calls=2, seconds=5)
    assert report.wrong == {}
    assert not report.lost
    assert not report.leaked
    assert len(report.peers) == 4
    for peer in report.peers:
        assert peer.looked >= 2
        assert peer.right == peer.looked
        assert peer.marked == peer.sections >= 1
        assert peer.heard == peer.listened >= 1
        assert peer.texts_sent >= 3
        assert peer.fps > 2
    for figure in ("relay_ms", "in_call_ms"):  # one of each pair asks, the other accepts
        assert sum(getattr(peer, figure) > 0 for peer in report.peers) == 2
    assert report.spread("generated_fps").p50 == 15.0
    assert report.spread("first_picture_s").most < 5
    content = json.loads(report.as_json())
    assert content["ok"] is True
    assert content["summary"]["fps"]["p50"] > 2
    assert max(moment["calls"] for moment in content["moments"]) == 2


@pytest.mark.parametrize(
    ("showing", "sentence"),
    [
        (Showing.OTHER_TARGET, "not "),
        (Showing.UNMARKED, "no watermark in"),
        (Showing.NOTHING_NEW, "does not move"),
    ],
)
async def test_a_wrong_picture_is_found(serve: Serve, film: Film, showing: Showing, sentence: str) -> None:
    seconds = 6 if showing is Showing.NOTHING_NEW else 3.5  # that takes two looks, a second apart
    report = await load(await serve(showing), film, seconds=seconds)
    assert len(report.wrong) == 2
    assert all(any(sentence in fault for fault in faults) for faults in report.wrong.values())
    assert not report.leaked


@pytest.mark.parametrize("showing", [Showing.CAMERA, Showing.CAMERA_CROPPED])
async def test_a_leak_is_found_and_said_first(serve: Serve, film: Film, showing: Showing) -> None:
    report = await load(await serve(showing), film)
    assert report.leaked
    assert all(faults[0].startswith("THE PARTNER'S OWN CAMERA") for faults in report.wrong.values())
    assert json.loads(report.as_json())["leaked"] is True


async def test_a_lost_text_is_found(serve: Serve, film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    passed_on: Callable[..., None] = Texts.send
    count = iter(range(1000))

    def loses_one(*arguments: object) -> None:
        if next(count) != 1:
            passed_on(*arguments)

    monkeypatch.setattr(Texts, "send", loses_one)
    report = await load(await serve(), film)
    assert sum(peer.texts_lost for peer in report.peers) == 1
    assert len(report.wrong) == 1


async def test_refusals_and_those_who_wait_in_vain_are_counted(serve: Serve, film: Film) -> None:
    report = await load(await serve(connections_per_address=1 + 1), film, seconds=2.5)
    assert report.lost["refused HTTP 429"] == 1  # the worker and one peer fill the address
    assert all("never in a call" in faults for faults in report.wrong.values())
