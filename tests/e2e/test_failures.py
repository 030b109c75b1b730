"""What dies during a call comes back, and in between nobody sees the camera."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

import numpy as np
import psutil
import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import PersonFactory
from tests.e2e.participant import Participant
from tests.e2e.pictures import recognise
from tests.e2e.service import Service
from tests.e2e.test_call import LEAK, assert_no_camera


@pytest.fixture(scope="module")
def pair(person: PersonFactory, room: str, gallery: dict[str, np.ndarray]) -> list[Participant]:
    """Two people in a call, behind the first two targets that are not the astronaut."""
    names = targets(gallery)
    pair = [person(0), person(1)]
    for index, someone in enumerate(pair):
        someone.join(room, f"Person {index}", names[index])
    for someone in pair:
        someone.expect_state("live")
        someone.expect_pictures_to_follow()
    return pair


def targets(gallery: dict[str, np.ndarray]) -> list[str]:
    return [target for target in gallery if target != "astronaut"][:2]


def kill(processes: Sequence[psutil.Process]) -> None:
    """End processes of the service without warning."""
    for process in processes:
        process.send_signal(signal.SIGKILL)


VICTIMS: dict[str, Callable[[Service], list[psutil.Process]]] = {
    "the inference process that serves": lambda service: service.inference()[:1],
    "every inference process": lambda service: service.inference(),
    "the media worker": lambda service: [service.worker()],
}


@pytest.mark.parametrize("victims", VICTIMS.values(), ids=VICTIMS)
def test_the_picture_goes_on_after_processes_were_killed(
    pair: list[Participant],
    service: Service,
    gallery: dict[str, np.ndarray],
    victims: Callable[[Service], list[psutil.Process]],
) -> None:
    for someone in pair:
        someone.watch()
    killed = victims(service)
    kill(killed)
    service.wait_until_whole(killed)
    for index, someone in enumerate(pair):
        someone.expect_state("live")
        someone.expect_pictures_to_follow()
        assert recognise(someone.picture(), gallery) == targets(gallery)[1 - index]
    assert_no_camera(pair)


def test_inference_killed_again_and_again_never_shows_the_camera(
    pair: list[Participant], service: Service
) -> None:
    for someone in pair:
        someone.watch()
    for _ in range(2):
        killed = service.inference()
        kill(killed)
        service.wait_until_whole(killed)
    for someone in pair:
        someone.expect_state("live")
        someone.expect_pictures_to_follow()
    assert_no_camera(pair)


@pytest.mark.parametrize(
    ("query", "state"),
    [({}, "no_target"), ({"target": "there-is-no-such-target"}, "failed")],
    ids=["none", "unknown"],
)
def test_somebody_without_a_target_is_not_seen(
    pair: list[Participant], person: PersonFactory, query: dict[str, str], state: str
) -> None:
    """The others see a card, never the camera."""
    first, second = pair
    second.leave()
    first.expect_state("ringing")
    stranger = person(1)
    stranger.page.route("**/api/targets", lambda route: route.abort())  # there is nothing to fall back to
    first.watch()
    stranger.open(room=first.details()["room"], name="Stranger", join="1", **query)
    first.expect_state("live")
    first.expect_status(state)
    first.wait_for_frames("remote", 3)
    stranger.wait_for_frames("probe-camera", 3)
    assert stranger.seen("probe-camera").magenta > 0.2
    assert first.seen().magenta < LEAK
    expect(first.page.locator(".tile-state")).to_contain_text("Stranger")
    pair[1] = stranger
