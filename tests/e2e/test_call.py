"""Two people meet by link, each behind a target: what each sees, hears and reads of the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from server.bench.motion import MOUTH_PERIOD_S
from tests.e2e.conftest import PersonFactory
from tests.e2e.participant import Participant, pause
from tests.e2e.pictures import best_correlation, brow_heights, mouth_openings, recognise

#: A picture with this share of the camera's background colour would be the camera's.
LEAK = 0.02


@dataclass
class Call:
    """Ada and Ben in a call; what each chose to be seen as."""

    ada: Participant
    ben: Participant
    room: str
    ada_target: str
    ben_target: str

    @property
    def both(self) -> list[Participant]:
        return [self.ada, self.ben]


@pytest.fixture(scope="module")
def call(person: PersonFactory, room: str, gallery: dict[str, np.ndarray]) -> Iterator[Call]:
    """A call joined by link alone, once both see each other's generated picture."""
    # Neither is seen as the astronaut, whose face the cameras show.
    first, second = [target for target in gallery if target != "astronaut"][:2]
    call = Call(person(0), person(1), room, first, second)
    call.ada.join(room, "Ada", first)
    call.ben.join(room, "Ben", second)
    for someone in call.both:
        someone.expect_state("live")
        someone.expect_pictures_to_follow()
    yield call
    for someone in call.both:
        assert someone.problems == []


def assert_no_camera(participants: list[Participant]) -> None:
    for someone in participants:
        for role in ("remote", "self"):
            seen = someone.seen(role)
            assert seen.frames > 0, f"no frames of {role} were looked at"
            assert seen.magenta < LEAK, f"the camera was seen in {role}: {seen.magenta:.0%} of a frame"


def test_the_camera_itself_would_be_noticed(call: Call) -> None:
    """The control of every other test here that says it saw no camera."""
    call.ada.watch()
    call.ada.wait_for_frames("probe-camera", 5)
    assert call.ada.seen("probe-camera").magenta > 0.2


def test_no_target_would_be_taken_for_the_camera(call: Call, gallery: dict[str, np.ndarray]) -> None:
    for name, picture in gallery.items():
        share = np.mean(np.minimum(picture[..., 0], picture[..., 2]).astype(int) - picture[..., 1] > 70)
        assert share < LEAK / 2, name


def test_each_sees_the_other_and_themselves_as_the_target(
    call: Call, gallery: dict[str, np.ndarray], out: Path
) -> None:
    assert recognise(call.ada.picture("remote"), gallery) == call.ben_target
    assert recognise(call.ben.picture("remote"), gallery) == call.ada_target
    assert recognise(call.ada.picture("self"), gallery) == call.ada_target
    assert recognise(call.ben.picture("self"), gallery) == call.ben_target
    call.ada.expect_pictures_to_follow()
    call.ada.page.screenshot(path=out / "call.png")


def test_the_picture_is_said_to_be_generated(call: Call) -> None:
    notice = call.ada.page.locator('[data-role="notice"]')
    expect(notice).to_be_visible()
    expect(notice).to_contain_text("Generated")


def test_the_mouth_opens_when_the_drivers_does(call: Call) -> None:
    for someone in call.both:
        someone.watch(keep_every=0.09)
    pause(call.both, 3 * MOUTH_PERIOD_S + 1)
    camera, remote = call.ada.seen("probe-camera"), call.ben.seen("remote")
    assert_no_camera(call.both)
    driven = [(t, o) for t, o in zip(camera.times, mouth_openings(camera.pictures), strict=True) if o == o]
    shown = [(t, o) for t, o in zip(remote.times, mouth_openings(remote.pictures), strict=True) if o == o]
    assert len(driven) > 30
    assert len(shown) > 30
    correlation, lag = best_correlation(driven, shown, most_lag=MOUTH_PERIOD_S / 2)
    assert correlation > 0.7, f"correlation {correlation:.2f} at a lag of {lag:.2f} s"
    openings = np.array([opening for _, opening in shown])
    assert np.percentile(openings, 90) - np.percentile(openings, 10) > 0.03


def test_sound_arrives_and_mute_silences_it(call: Call) -> None:
    assert call.ben.loudness() > 0.01
    assert call.ada.loudness() > 0.01
    call.ada.control("mute").click()
    call.ben.eventually(lambda: call.ben.loudness(milliseconds=600) < 0.002, "silence")
    assert call.ada.loudness() > 0.01
    call.ada.control("mute").click()
    call.ben.eventually(lambda: call.ben.loudness(milliseconds=600) > 0.01, "sound again")


def test_text_arrives(call: Call) -> None:
    call.ada.control("chat").click()
    line = call.ada.page.locator('[data-role="chat-input"]')
    line.fill("Good evening <b>Ben</b>")
    line.press("Enter")
    call.ben.control("chat").click()
    log = call.ben.page.locator('[data-role="chat-log"]')
    expect(log).to_contain_text("Good evening <b>Ben</b>")
    expect(log).to_contain_text("Ada")
    for someone in call.both:
        someone.control("chat").click()


def test_target_changes_during_the_call(call: Call, gallery: dict[str, np.ndarray]) -> None:
    third = next(t for t in gallery if t not in {"astronaut", call.ada_target, call.ben_target})
    call.ben.watch()
    call.ada.choose_target(third)
    call.ada_target = third
    call.ben.eventually(lambda: recognise(call.ben.picture(), gallery) == third, "the new target")
    call.ada.eventually(lambda: recognise(call.ada.picture("self"), gallery) == third, "the new target")
    call.ben.wait_for_frames("remote", 10)
    assert call.ben.state == "live"
    assert call.ben.seen().magenta < LEAK


def test_camera_off_shows_the_target_at_rest(call: Call, gallery: dict[str, np.ndarray]) -> None:
    for someone in call.both:
        someone.watch()
    call.ada.control("camera").click()
    expect(call.ben.page.locator(".tile-state")).to_contain_text("camera")
    call.ben.expect_status("camera_off")
    pause(call.both, 1)
    first = call.ben.picture()
    assert recognise(first, gallery) == call.ada_target
    pause(call.both, MOUTH_PERIOD_S / 2)
    difference = np.abs(call.ben.picture().astype(int) - first).mean()
    assert difference < 2.0, "the picture still moves"
    call.ada.control("camera").click()
    call.ben.expect_pictures_to_follow()
    assert_no_camera(call.both)


def test_recalibration_is_taken(call: Call) -> None:
    call.ben.watch()
    call.ada.control("recalibrate").click()
    call.ben.expect_pictures_to_follow()
    assert call.ben.seen().magenta < LEAK


def test_a_number_key_lets_the_target_react_and_go_back(call: Call, out: Path) -> None:
    """Ada presses the key of "surprised": Ben sees brows go up that were down, and come down again."""
    react = call.ada.control("react")
    expect(react).to_be_enabled()
    react.click()
    surprised = call.ada.page.locator('#reactions [data-template="surprised"]')
    key = surprised.get_attribute("aria-keyshortcuts")
    call.ada.page.screenshot(path=out / "call-reactions.png")
    call.ada.page.keyboard.press("Escape")
    assert key

    def brows(seconds: float) -> np.ndarray:
        call.ben.watch(keep_every=0.08)
        pause([call.ben], seconds)
        call.ben.eventually(lambda: len(call.ben.seen("remote").pictures) >= 12, "enough pictures")
        seen = call.ben.seen("remote")
        assert seen.magenta < LEAK
        heights = brow_heights(seen.pictures)
        return heights[~np.isnan(heights)]

    before = brows(1.5 * MOUTH_PERIOD_S)  # all that the driver does, blinks too
    call.ada.page.keyboard.press(key)
    expect(call.ada.page.locator("#self-reaction")).to_have_text("Surprised")
    during = brows(3.0)
    expect(call.ada.page.locator("#self-reaction")).to_be_hidden()
    after = brows(1.5 * MOUTH_PERIOD_S)
    assert min(len(before), len(during), len(after)) >= 8
    # Single pictures of a blink may be misread; a reaction lasts for more than a second.
    rest, raised = np.median(before), 1.12 * np.median(before)
    assert np.mean(before > raised) < 0.2
    assert np.sum(during > raised) >= 4
    assert np.mean(after > raised) < 0.2
    assert abs(np.median(after) - rest) < 0.04 * rest


def test_statistics_show_figures_of_the_generated_picture(call: Call, out: Path) -> None:
    call.ada.control("stats").click()
    body = call.ada.page.locator("#stats-body")
    expect(body).to_contain_text(re.compile("mesh-warp|marionette"), timeout=15_000)
    pause(call.both, 2.5)  # rates need two looks at the connection
    call.ada.page.screenshot(path=out / "call-statistics.png")
    call.ada.control("stats").click()


def test_a_reloaded_page_is_back_in_the_same_call(call: Call, gallery: dict[str, np.ndarray]) -> None:
    before = call.ben.details()
    call.ben.page.reload(wait_until="domcontentloaded")
    call.ben.expect_state("live")
    after = call.ben.details()
    assert after["terminal"] == before["terminal"]
    assert set(after["calls"]) == set(before["calls"])
    call.ada.expect_state("live")
    for someone in call.both:
        someone.watch()
        someone.expect_pictures_to_follow()
    assert recognise(call.ada.picture(), gallery) == call.ben_target
    assert recognise(call.ben.picture(), gallery) == call.ada_target
    assert_no_camera(call.both)


def test_leaving_ends_the_call_for_both(call: Call) -> None:
    call.ben.leave()
    call.ben.expect_state("ended")
    call.ada.expect_state("ringing")
    expect(call.ada.page.locator("#waiting-text")).to_contain_text("Ben left")


def test_joining_again_calls_again(call: Call, gallery: dict[str, np.ndarray]) -> None:
    call.ben.join(call.room, "Ben", call.ben_target)
    for someone in call.both:
        someone.expect_state("live")
        someone.expect_pictures_to_follow()
    assert recognise(call.ada.picture(), gallery) == call.ben_target


def test_closing_a_page_is_told_to_the_other(call: Call) -> None:
    call.ben.page.close()
    call.ada.eventually(lambda: call.ada.state != "live", "that Ben is gone", within=20)
    # The place is kept for a while; Ada is told that Ben is away, or that he left for good.
    expect(call.ada.page.locator("#call-title")).to_contain_text("Ben")
