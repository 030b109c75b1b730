"""The direct mode: one's own face is shown only after both said yes, and until one of them says no."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import PersonFactory
from tests.e2e.participant import Participant, pause
from tests.e2e.test_call import LEAK, assert_no_camera


@pytest.fixture(scope="module")
def pair(person: PersonFactory, room: str, gallery: dict[str, np.ndarray]) -> list[Participant]:
    names = [target for target in gallery if target != "astronaut"]
    pair = [person(0), person(1)]
    for index, someone in enumerate(pair):
        someone.join(room, f"Person {index}", names[index])
    for someone in pair:
        someone.expect_state("live")
        someone.expect_pictures_to_follow()
    return pair


def ask(someone: Participant) -> None:
    someone.control("direct").click()
    someone.page.locator('[data-action="direct-confirm"]').click()


def test_a_declined_request_changes_nothing(pair: list[Participant]) -> None:
    for someone in pair:
        someone.watch()
    ask(pair[0])
    expect(pair[1].page.locator("#direct-incoming")).to_be_visible()
    pause(pair, 1)
    pair[1].page.locator('[data-action="direct-decline"]').click()
    expect(pair[1].page.locator("#direct-incoming")).to_be_hidden()
    pause(pair, 1)
    assert_no_camera(pair)


def test_both_faces_are_shown_once_both_agreed(pair: list[Participant]) -> None:
    for someone in pair:
        someone.watch()
    ask(pair[0])
    expect(pair[1].page.locator("#direct-incoming")).to_be_visible()
    pair[1].page.locator('[data-action="direct-accept"]').click()
    for someone in pair:
        someone.eventually(lambda: someone.seen().magenta > 0.1, "the other's camera")  # noqa: B023
        expect(someone.page.locator('[data-role="notice"]')).to_contain_text("Real camera")
        expect(someone.page.locator("#direct-banner")).to_be_visible()


def test_either_goes_back_behind_the_target(pair: list[Participant]) -> None:
    pair[1].page.locator('[data-action="leave-direct"]').click()
    for someone in pair:
        expect(someone.page.locator('[data-role="notice"]')).to_contain_text("Generated", timeout=30_000)
        expect(someone.page.locator("#direct-banner")).to_be_hidden()
        someone.expect_state("live")
        someone.expect_pictures_to_follow()
    pause(pair, 0.5)
    for someone in pair:
        someone.watch()
    for someone in pair:
        someone.wait_for_frames("remote", 10)
        assert someone.seen().magenta < LEAK
