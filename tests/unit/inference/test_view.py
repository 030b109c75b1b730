"""What is shown of a driver, decided on a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from server.inference.messages import Outcome, PictureNote
from server.inference.view import Decision, DriverView, Generated, Patience
from signaling.protocol import DriverState

PATIENCE = Patience(late_s=0.5, hold_s=0.25, fade_s=0.2, switch_s=1.5, start_s=1.5)
INTERVAL = 1 / 25


@dataclass
class Scene:
    """A driver with a camera and a process that answers after ``delay`` seconds."""

    now: float = 100.0
    serving: bool = True
    missing: bool = False
    still_ready: bool = True
    sequence: int = 0
    view: DriverView = field(init=False)

    def __post_init__(self) -> None:
        self.view = DriverView(PATIENCE, self.now, epoch=1, since=1)
        self.view.change_target("green", 2, self.now)

    def decide(self) -> Decision:
        return self.view.decide(
            self.now, serving=self.serving, missing=self.missing, still_ready=self.still_ready
        )

    def answer(
        self, outcome: Outcome, time: float, epoch: int | None = None, since: int | None = None
    ) -> bool:
        note = PictureNote(
            self.view.epoch if epoch is None else epoch,
            self.view.since if since is None else since,
            time,
            outcome,
        )
        if not self.view.counts(note):
            return False
        picture = None
        if note.generated:
            self.sequence += 1
            state: DriverState = "calibrating" if outcome == "calibrating" else "live"
            picture = Generated(np.zeros((3, 2), np.uint8), time, state, self.sequence)
        self.view.take(note, picture, self.now)
        return True

    def frames(
        self,
        count: int,
        outcome: Outcome = "live",
        delay: float = 0.01,
        interval: float = INTERVAL,
        epoch: int | None = None,
    ) -> list[Decision]:
        """Camera frames and their answers; what is shown after each answer and just before the next."""
        shown = []
        for _ in range(count):
            taken = self.now
            for waiting in np.arange(0.0, delay, interval):
                self.view.submitted(taken + float(waiting))
            self.now = taken + delay
            self.answer(outcome, taken, epoch)
            shown.append(self.decide())
            self.now = taken + max(delay, interval)
            shown.append(self.decide())
        return shown

    def pass_time(self, seconds: float, step: float = 0.02) -> list[Decision]:
        shown = []
        end = self.now + seconds
        while self.now < end:
            self.now += step
            shown.append(self.decide())
        return shown


@pytest.fixture
def scene() -> Scene:
    return Scene()


def states(shown: list[Decision]) -> list[str]:
    """States in their order, repetitions left out."""
    found: list[str] = []
    for decision in shown:
        if not found or found[-1] != decision.state:
            found.append(decision.state)
    return found


def sources(shown: list[Decision]) -> set[str]:
    return {decision.source for decision in shown}


def test_nothing_is_generated_before_the_first_answer(scene: Scene) -> None:
    assert scene.decide() == Decision("calibrating", "still", "green")
    scene.view.submitted(scene.now)
    shown = scene.pass_time(2.5)
    assert sources(shown) == {"still"}
    assert states(shown) == ["calibrating", "late"]


def test_without_camera_frames_it_says_so(scene: Scene) -> None:
    assert states(scene.pass_time(3)) == ["calibrating", "no_video"]


def test_frames_are_shown_from_the_first_on(scene: Scene) -> None:
    assert set(scene.frames(3, "calibrating")) == {Decision("calibrating", "generated")}
    assert set(scene.frames(50)) == {Decision("live", "generated")}


def test_without_target_nothing_of_the_former_one_is_shown(scene: Scene) -> None:
    scene.frames(10)
    epoch = scene.view.epoch
    scene.view.change_target(None, 9, scene.now)
    assert scene.decide() == Decision("no_target", "still", None)
    assert not scene.answer("live", scene.now, epoch=epoch)
    assert scene.view.picture is None


def test_a_changed_target_takes_over_without_a_gap(scene: Scene) -> None:
    scene.frames(10)
    former = scene.view.epoch
    scene.view.change_target("blue", former + 1, scene.now)
    assert scene.view.targets == {"green", "blue"}
    assert sources(scene.frames(5, epoch=former)) == {"generated"}
    assert sources(scene.frames(1)) == {"generated"}
    assert scene.view.targets == {"blue"}
    assert not scene.answer("live", scene.now, epoch=former), "the former target is over"
    assert sources(scene.frames(10)) == {"generated"}


def test_a_target_that_takes_too_long_ends_the_former_one(scene: Scene) -> None:
    scene.frames(10)
    former = scene.view.epoch
    scene.view.change_target("blue", former + 1, scene.now)
    shown = scene.frames(50, epoch=former)
    assert shown[0].source == "generated"
    assert shown[-1].source == "still"
    assert shown[-1].target == "blue"
    assert not scene.answer("live", scene.now, epoch=former)


def test_until_the_new_still_is_drawn_the_former_one_stands_in(scene: Scene) -> None:
    scene.frames(3, "no_face")
    scene.still_ready = False
    scene.view.change_target("blue", 9, scene.now)
    assert scene.decide().target == "green"
    scene.still_ready = True
    assert scene.decide().target == "blue"


def test_a_target_that_is_missing_ends_the_former_one(scene: Scene) -> None:
    scene.frames(10)
    former = scene.view.epoch
    scene.view.change_target("gone", former + 1, scene.now)
    scene.missing = True
    assert scene.decide() == Decision("failed", "still", "gone")
    assert not scene.answer("live", scene.now, epoch=former)


def test_two_quick_changes_let_only_the_last_pass(scene: Scene) -> None:
    scene.frames(10)
    first = scene.view.epoch
    scene.view.change_target("blue", first + 1, scene.now)
    scene.view.change_target("red", first + 2, scene.now)
    assert not scene.answer("live", scene.now, epoch=first)
    assert sources(scene.frames(2)) == {"generated"}
    assert not scene.answer("live", scene.now, epoch=first + 1)


def test_camera_off_is_at_once_and_frames_of_before_do_not_come_back(scene: Scene) -> None:
    scene.frames(10)
    since = scene.view.since
    scene.view.change_camera(False, since + 1, scene.now)
    assert scene.decide() == Decision("camera_off", "still", "green")
    assert not scene.answer("live", scene.now)
    scene.view.change_camera(True, since + 2, scene.now)
    assert not scene.answer("live", scene.now, since=since)
    assert scene.decide().source == "still"
    assert sources(scene.frames(2)) == {"generated"}


def test_a_lost_face_is_held_faded_and_then_still(scene: Scene) -> None:
    scene.frames(10)
    shown = scene.frames(20, "no_face")
    order = [decision.source for decision in shown]
    assert order == sorted(order, key=["generated", "fade", "still"].index)
    assert set(order) == {"generated", "fade", "still"}
    assert {decision.state for decision in shown if decision.source == "generated"} == {"live"}
    assert {decision.state for decision in shown if decision.source != "generated"} == {"no_face"}
    shares = [decision.share for decision in shown if decision.source == "fade"]
    assert shares == sorted(shares)
    assert order.count("generated") * INTERVAL / 2 <= PATIENCE.hold_s + INTERVAL


def test_a_face_that_blinks_out_for_a_moment_is_not_noticed(scene: Scene) -> None:
    scene.frames(10)
    assert sources(scene.frames(3, "no_face") + scene.frames(10)) == {"generated"}


def test_a_face_that_was_never_found_shows_the_still(scene: Scene) -> None:
    assert set(scene.frames(5, "no_face")) == {Decision("no_face", "still", "green")}


def test_a_found_face_is_shown_again_after_a_moment(scene: Scene) -> None:
    scene.frames(10)
    scene.frames(50, "no_face")
    shown = scene.frames(5)
    assert states(shown) == ["no_face", "live"]
    assert shown[-1].source == "generated"


def test_a_failure_is_at_once_and_over_when_it_works_again(scene: Scene) -> None:
    scene.frames(10)
    assert set(scene.frames(3, "failed")) == {Decision("failed", "still", "green")}
    assert sources(scene.frames(5)[-2:]) == {"generated"}


def test_a_camera_that_stops_shows_the_still_after_the_time_for_late_frames(scene: Scene) -> None:
    scene.frames(10)
    shown = scene.pass_time(1.0)
    assert states(shown) == ["live", "no_video"]
    assert sum(decision.source == "generated" for decision in shown) * 0.02 < PATIENCE.late_s


def test_an_answer_that_does_not_come_is_late(scene: Scene) -> None:
    scene.frames(10)
    shown = []
    for _ in range(30):
        scene.view.submitted(scene.now)
        shown += scene.pass_time(INTERVAL)
    assert states(shown) == ["live", "late"]
    assert shown[-1].source == "still"


@pytest.mark.parametrize("delay", [0.4, 0.6, 2.0])
def test_a_generator_too_slow_gives_a_steady_still_instead_of_a_flicker(scene: Scene, delay: float) -> None:
    shown = scene.frames(12, delay=delay)
    assert states(shown[4:]) == ["late"]
    assert sources(shown[4:]) == {"still"}


def test_a_generator_slow_but_steady_is_shown(scene: Scene) -> None:
    assert sources(scene.frames(12, delay=0.2)) == {"generated"}


def test_a_camera_too_slow_gives_a_steady_still(scene: Scene) -> None:
    shown = scene.frames(8, interval=0.8)
    assert states(shown[2:]) == ["no_video"]


def test_after_being_late_two_frames_in_time_are_needed(scene: Scene) -> None:
    scene.frames(10)
    scene.frames(3, delay=0.8)
    assert states(scene.frames(1)) == ["late"]
    assert scene.frames(1)[-1] == Decision("live", "generated")


def test_what_a_dead_process_made_is_not_shown(scene: Scene) -> None:
    scene.frames(10)
    epoch, since = scene.view.epoch, scene.view.since
    scene.serving = False
    scene.view.process_gone(50, 51)
    assert scene.decide() == Decision("restarting", "still", "green")
    scene.serving = True
    scene.view.process_back(scene.now)
    scene.view.submitted(scene.now)
    assert scene.decide() == Decision("restarting", "still", "green")
    assert not scene.answer("live", scene.now, epoch=epoch, since=since)
    assert sources(scene.frames(2)) == {"generated"}


def test_a_process_that_came_back_and_stays_silent_is_late(scene: Scene) -> None:
    scene.frames(10)
    scene.view.process_gone(50, 51)
    scene.view.process_back(scene.now)
    shown = []
    for _ in range(60):
        scene.view.submitted(scene.now)
        shown += scene.pass_time(INTERVAL)
    assert states(shown) == ["restarting", "late"]


def test_who_has_seen_the_new_targets_still_does_not_see_the_former_again(scene: Scene) -> None:
    """Pictures of the former target that come late, on a busy machine, are not shown any more."""
    scene.frames(5)
    former = scene.view.epoch
    scene.view.change_target("blue", former + 1, scene.now)
    scene.now += 2 * PATIENCE.late_s  # nothing comes for a while
    assert scene.decide().source == "still"
    assert scene.decide().target == "blue"
    assert not scene.answer("live", scene.now, epoch=former)
    assert scene.decide().target == "blue"
    assert scene.answer("live", scene.now)
