"""Stills and cards: marked, legible, clear of the mark, and gone when nobody needs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import get_args

import cv2
import numpy as np
import pytest

from server.inference.stills import NOTICES, Stills
from server.provenance import MarkPlace, MarkSettings, VisibleMark
from server.targets.folder import TargetUnreadable
from server.targets.store import PreparedTarget, TargetUnknown
from signaling.protocol import DriverState

SIZE = 256
PHOTO = np.full((512, 512, 3), 120, np.uint8)


def load(target: str) -> PreparedTarget:
    if target == "broken":
        raise OSError("disk")
    return PreparedTarget(target, target, PHOTO[None], np.zeros((1, 478, 3), np.float32))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def rgb(i420: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(i420.copy(), cv2.COLOR_YUV2RGB_I420)).astype(int)


@pytest.fixture(params=get_args(MarkPlace))
def drawn(request: pytest.FixtureRequest) -> Iterator[tuple[Stills, VisibleMark]]:
    mark = MarkSettings(place=request.param)
    stills = Stills(load, SIZE, mark)
    stills.prepare("someone")
    until(lambda: stills.ready("someone"))
    yield stills, VisibleMark(mark, SIZE)
    stills.close()


def test_every_state_has_a_notice_in_words() -> None:
    assert set(NOTICES) == set(get_args(DriverState))
    assert [state for state, text in NOTICES.items() if not text] == ["live"]


def test_every_still_is_marked_and_its_notice_keeps_clear(drawn: tuple[Stills, VisibleMark]) -> None:
    stills, mark = drawn
    plain = rgb(stills.get("someone", "live"))
    for state in NOTICES:
        picture = rgb(stills.get("someone", state))
        assert np.ptp(picture[mark.region]) > 100
        assert np.abs(picture[mark.region] - plain[mark.region]).max() < 16, "the notice covers the mark"
        assert (np.abs(picture - plain).max() > 100) == bool(NOTICES[state])


def test_notices_differ_and_say_something(drawn: tuple[Stills, VisibleMark]) -> None:
    stills, _ = drawn
    pictures = {state: rgb(stills.get("someone", state)) for state in NOTICES}
    for state, picture in pictures.items():
        others = [np.abs(picture - other).max() for name, other in pictures.items() if name != state]
        assert min(others) > 60, state


def test_cards_show_no_target_and_carry_no_mark(drawn: tuple[Stills, VisibleMark]) -> None:
    stills, mark = drawn
    card = rgb(stills.get(None, "live"))
    assert np.ptp(card[mark.region]) < 80
    assert stills.get("unknown", "no_face") is stills.get(None, "no_face")


def test_stills_cannot_be_written_to(drawn: tuple[Stills, VisibleMark]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        drawn[0].get("someone", "live")[0, 0] = 1


def test_a_target_that_cannot_be_loaded_is_missing_until_asked_for_again() -> None:
    stills = Stills(load, SIZE, MarkSettings())
    stills.prepare("broken")
    until(lambda: stills.missing("broken"))
    assert not stills.ready("broken")
    assert stills.get("broken", "failed") is stills.get(None, "failed")
    stills.prepare("broken")
    until(lambda: stills.missing("broken"))
    stills.close()


class Faulty:
    """Gives a target, after some errors."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked = 0

    def __call__(self, target: str) -> PreparedTarget:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return load(target)


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), TargetUnreadable("a")])
def test_what_could_not_be_read_is_drawn_again_after_a_pause(error: Exception) -> None:
    faulty = Faulty(error)
    stills = Stills(faulty, SIZE, MarkSettings())
    stills.prepare("a")
    until(lambda: stills.missing("a"))
    for now in (100.0, 100.1, 100.4):
        stills.redraw(now)
        assert stills.missing("a")
    assert faulty.asked == 1
    stills.redraw(101.0)
    until(lambda: stills.ready("a"))
    assert not stills.missing("a")
    for now in (101.1, 200.0, 300.0):
        stills.redraw(now)
    assert (faulty.asked, stills.ready("a")) == (2, True)
    stills.close()


def test_pauses_grow_and_the_target_is_missing_while_it_is_tried_again() -> None:
    faulty = Faulty(*(OSError(5, "Input/output error") for _ in range(1000)))
    stills = Stills(faulty, SIZE, MarkSettings())
    stills.prepare("a")
    until(lambda: stills.missing("a"))
    tries = []
    for tick in range(600):  # a minute
        before = faulty.asked
        stills.redraw(tick / 10)
        assert stills.missing("a")
        drawing = stills._sets["a"]
        until(drawing.done)
        if faulty.asked > before:
            tries.append(tick / 10)
    assert tries[0] == pytest.approx(0.5, abs=0.11)
    assert 6 <= len(tries) <= 9
    assert 10 <= tries[-1] - tries[-2] < 10.5
    stills.close()


def test_a_target_that_does_not_exist_is_asked_for_once() -> None:
    faulty = Faulty(TargetUnknown("a"))
    stills = Stills(faulty, SIZE, MarkSettings())
    stills.prepare("a")
    until(lambda: stills.missing("a"))
    for now in (0.0, 10.0, 100.0):
        stills.redraw(now)
    assert (faulty.asked, stills.missing("a")) == (1, True)
    stills.close()


def test_nothing_is_drawn_again_that_nobody_wants() -> None:
    faulty = Faulty(OSError(5, "Input/output error"))
    stills = Stills(faulty, SIZE, MarkSettings())
    stills.prepare("a")
    until(lambda: stills.missing("a"))
    stills.redraw(0.0)
    stills.keep_only(set())
    stills.redraw(100.0)
    assert (faulty.asked, stills.missing("a")) == (1, False)
    stills.close()


def test_only_stills_that_are_needed_are_kept() -> None:
    stills = Stills(load, SIZE, MarkSettings())
    for target in ("a", "b"):
        stills.prepare(target)
    until(lambda: stills.ready("a") and stills.ready("b"))
    stills.keep_only({"b"})
    assert not stills.ready("a")
    assert stills.ready("b")
    stills.close()
