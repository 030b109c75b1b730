"""Browsers that reach nothing but a TURN server (coturn): a call through it, and one that it refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.participant import Participant
from tests.e2e.pictures import decode, recognise
from tests.e2e.relay import Coturn
from tests.e2e.service import Service
from tests.e2e.test_call import LEAK, assert_no_camera

SECRET = "a secret that coturn and signaling share"
OTHER_SECRET = "one of them was changed and the other was not"
#: Only through a relay, as where a firewall lets nothing else through.
RELAY_ONLY = """
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(configuration) { super({ ...configuration, iceTransportPolicy: "relay" }); }
};
"""


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    coturn = Coturn(tmp_path_factory.mktemp("coturn"), SECRET)
    coturn.wait_until_ready()
    yield coturn
    coturn.stop()


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, coturn: Coturn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose terminals get credentials for the relay: with its secret, or with another."""
    service = Service(
        tmp_path_factory.mktemp("service"),
        UNDERSTUDY_TURN_URLS=coturn.url,
        UNDERSTUDY_TURN_SECRET=request.param,
        UNDERSTUDY_LOG_LEVEL="info",
    )
    service.start()
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()


@pytest.fixture
def pair(service: Service, browsers: list[Browser]) -> Iterator[list[Participant]]:
    """Two people who reach only the relay, in one room."""
    probe = (Path(__file__).parent / "probe.js").read_text()
    contexts = [
        browser.new_context(permissions=["camera", "microphone"], viewport={"width": 1100, "height": 720})
        for browser in browsers
    ]
    people = []
    for context in contexts:
        context.add_init_script(RELAY_ONLY)
        context.add_init_script(probe)
        people.append(Participant(context.new_page(), service.url))
    yield people
    for context in contexts:
        context.close()


def join(pair: list[Participant], service: Service) -> list[str]:
    """Both join the room behind the first two targets; returns these."""
    targets = [t["id"] for t in service.get("/api/targets")["targets"] if t["id"] != "astronaut"][:2]
    for index, someone in enumerate(pair):
        someone.join("relayed", f"Person {index}", targets[index])
    return targets


@pytest.mark.parametrize("service", [SECRET], indirect=True, ids=["right"])
def test_a_call_through_the_relay_alone(pair: list[Participant], service: Service, coturn: Coturn) -> None:
    targets = join(pair, service)
    pictures = {t["id"]: decode(service.read(t["image"])) for t in service.get("/api/targets")["targets"]}
    for someone in pair:
        someone.watch()
        someone.expect_state("live")
        someone.expect_pictures_to_follow()
    assert_no_camera(pair)
    for index, someone in enumerate(pair):
        assert recognise(someone.picture(), pictures) == targets[1 - index]
    assert coturn.said("ALLOCATE processed, success") >= 4  # publish and subscribe of each


@pytest.mark.parametrize("service", [OTHER_SECRET], indirect=True, ids=["wrong"])
def test_wrong_credentials_are_said_in_time(
    pair: list[Participant], service: Service, coturn: Coturn
) -> None:
    """In words, on the page, within 10 s of the first try: browsers and WebRTC itself say nothing at all.

    Found: before, "Connecting with ..." for ever; now the reason after 8 s, and it stays said.
    """
    join(pair, service)
    for someone in pair:
        someone.expect_state("connecting")
    began = time.monotonic()
    expect(pair[0].page.locator("body")).to_contain_text("relay (TURN) server refuses", timeout=45_000)
    took = time.monotonic() - began
    assert took < 30, took  # 8 s on a machine with time to spare
    assert coturn.said("check_stun_auth") or coturn.said("401")
    pair[0].page.wait_for_timeout(3000)  # it tries again meanwhile
    expect(pair[0].page.locator("body")).to_contain_text("relay (TURN) server refuses")
    assert all(someone.seen().magenta < LEAK for someone in pair)
