"""The real inference process, broken in every way: the camera's picture is never among what is shown.

The camera shows the astronaut on magenta; the targets hold neither. Each trial looks at every picture that
``latest`` gives while it goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from server.inference.client import CapacityExceeded, GeneratedFrame, InferenceClient
from server.targets.store import PreparedTarget, TargetStore
from tests.integration.inference.trial import (
    FACE,
    NO_FACE,
    SIZE,
    Trial,
    assert_no_camera,
    camera_frame,
    rgb,
    state_is,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_camera_itself_would_be_noticed() -> None:
    picture = cv2.resize(FACE.to_ndarray(format="rgb24"), (SIZE, SIZE))
    i420 = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    with pytest.raises(AssertionError, match="background"):
        assert_no_camera(GeneratedFrame(1, i420, "live", 0.0, True))


async def test_a_call_shows_the_target_with_figures_and_the_cameras_clock(trial: Trial) -> None:
    shown = await trial.live()
    assert trial.looks_like(shown) == trial.green
    await trial.feed(1.5)
    shown = trial.client.latest("d")
    assert shown.state == "live"
    assert shown.driver_time is not None
    assert 0 < time.monotonic() - shown.driver_time < 0.5
    stats = trial.client.stats("d")
    assert stats is not None
    assert stats.generator == "mesh-warp"
    assert 5 < stats.fps < 31
    assert 0 < stats.frame_ms < 1000


async def test_a_reaction_plays_over_the_driver_and_gives_way(trial: Trial) -> None:
    """The driver's face is still; the target's changes, and is as before when the template is over."""
    await trial.live()
    trial.client.recalibrate("d")
    calm = rgb(await trial.feed(2.0)).astype(float)

    def changed(shown: GeneratedFrame) -> float:
        return float(np.abs(rgb(shown) - calm).mean())

    assert changed(await trial.feed(0.5)) < 1.0
    trial.client.react("d", "no-such-template")
    assert changed(await trial.feed(0.5)) < 1.0
    trial.client.react("d", "surprised")
    shown = await trial.feed(10, until=lambda shown: changed(shown) > 2.0)
    assert changed(shown) > 2.0
    assert shown.state == "live"
    assert trial.looks_like(shown) == trial.green
    assert changed(await trial.feed(20, until=lambda shown: changed(shown) < 1.0)) < 1.0


async def test_without_a_target_a_neutral_card_is_shown(trial: Trial) -> None:
    await trial.live()
    trial.client.set_target("d", None)
    shown = await trial.feed(0.5)
    assert (shown.state, shown.generated) == ("no_target", False)
    assert rgb(shown).std() < 60


async def test_an_unknown_target_fails_closed(trial: Trial) -> None:
    await trial.live()
    trial.client.set_target("d", "t_" + "x" * 32)
    shown = await trial.feed(5, until=state_is("failed"))
    assert (shown.state, shown.generated) == ("failed", False)


async def test_a_picture_that_could_not_be_read_once_is_shown_soon(
    trial: Trial, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was called unavailable for the rest of the call, although pictures were generated."""
    await trial.live()
    errors = [OSError(24, "Too many open files")]

    def load(target: str) -> PreparedTarget:
        if errors:
            raise errors.pop()
        return TargetStore(data_dir).load(target)

    monkeypatch.setattr(trial.client._stills, "_load", load)
    trial.client.set_target("d", trial.bright)
    assert (await trial.feed(5, until=state_is("failed"))).state == "failed"
    assert trial.looks_like(await trial.live()) == trial.bright
    assert not errors


async def test_a_lost_face_shows_the_still_and_comes_back(trial: Trial) -> None:
    await trial.live()
    shown = await trial.feed(5, NO_FACE, until=state_is("no_face"))
    assert (shown.state, shown.generated) == ("no_face", False)
    assert trial.looks_like(shown) == trial.green
    assert ("d", "no_face") in trial.statuses
    await trial.live()


async def test_with_the_camera_off_frames_that_still_arrive_are_not_shown(trial: Trial) -> None:
    await trial.live()
    trial.client.set_camera("d", False)
    shown = await trial.feed(0.5)
    assert (shown.state, shown.generated) == ("camera_off", False)
    trial.client.set_camera("d", True)
    await trial.live()


async def test_a_camera_that_stops_shows_the_still(trial: Trial) -> None:
    await trial.live()
    shown = await trial.feed(5, None, until=state_is("no_video"))
    assert (shown.state, shown.generated) == ("no_video", False)


async def test_a_model_that_fails_shows_the_still_until_it_works_again(trial: Trial) -> None:
    await trial.live()
    trial.fault.write_text("raise")
    shown = await trial.feed(5, until=state_is("failed"))
    assert (shown.state, shown.generated) == ("failed", False)
    trial.fault.unlink()
    await trial.live()


async def test_one_drivers_failure_is_that_drivers_alone(trial: Trial) -> None:
    trial.client.open("e")
    trial.client.set_target("e", trial.bright)
    await trial.live()
    await trial.live("e")
    trial.fault.write_text("raise on bright")
    await trial.feed(5, driver="e", until=state_is("failed"))
    assert ("e", "failed") in trial.statuses
    generated = {"d": 0, "e": 0}
    for _ in range(20):
        shown = await asyncio.gather(trial.feed(0.1, driver="d"), trial.feed(0.1, driver="e"))
        for driver, picture in zip("de", shown, strict=True):
            generated[driver] += picture.generated
    assert generated["d"] > 5
    assert generated["e"] == 0


async def test_a_late_generator_shows_the_still(trial: Trial) -> None:
    await trial.live()
    trial.fault.write_text("slow")
    shown = await trial.feed(6, until=state_is("late"))
    assert (shown.state, shown.generated) == ("late", False)


async def test_a_killed_process_is_replaced_and_the_call_goes_on(trial: Trial) -> None:
    await trial.live()
    before, restarts = trial.client.pid, trial.client.restarts
    assert before is not None
    os.kill(before, signal.SIGKILL)
    shown = await trial.feed(5, until=state_is("restarting"))
    assert (shown.state, shown.generated) == ("restarting", False)
    await trial.live()
    assert trial.client.pid != before
    assert trial.client.restarts > restarts


async def test_a_hanging_process_is_replaced(trial: Trial) -> None:
    await trial.live()
    before = trial.client.pid
    trial.fault.write_text("hang")
    await trial.feed(12, until=state_is("restarting"))
    trial.fault.unlink()
    await trial.live()
    assert trial.client.pid != before


async def test_a_new_target_is_shown_at_once_and_the_old_one_never_again(trial: Trial) -> None:
    await trial.live()
    trial.client.set_target("d", trial.bright)
    await trial.feed(3, until=lambda shown: trial.looks_like(shown) == trial.bright)
    seen = set()
    for _ in range(20):
        seen.add(trial.looks_like(await trial.feed(0.05)))
    assert seen == {trial.bright}
    assert (await trial.live()).generated


async def test_a_target_that_has_to_be_brought_first_is_no_failure(
    trial: Trial, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is told of it when it is on this machine, and not before."""
    await trial.live()
    here, elsewhere = data_dir / "targets" / trial.bright, data_dir / "elsewhere"
    here.rename(elsewhere)

    def bring(target: str) -> PreparedTarget:
        time.sleep(0.5)
        elsewhere.rename(here)
        return TargetStore(data_dir).load(target)

    monkeypatch.setattr(trial.client, "_at_hand", lambda target: False)
    monkeypatch.setattr(trial.client._stills, "_load", bring)
    trial.client.set_target("d", trial.bright)
    await trial.feed(8, until=lambda shown: shown.generated and trial.looks_like(shown) == trial.bright)
    assert trial.looks_like(await trial.live()) == trial.bright
    assert ("d", "failed") not in trial.statuses


async def test_a_slots_next_driver_sees_nothing_of_its_last(trial: Trial) -> None:
    await trial.live()
    trial.client.release("d")
    trial.client.open("next")
    assert trial.client.latest("next").state == "no_target"
    trial.client.set_target("next", trial.bright)
    for _ in range(25):
        shown = await trial.feed(0.04, driver="next")
        assert trial.looks_like(shown) != trial.green or shown.state == "no_target" or not shown.generated
    assert trial.looks_like(await trial.live("next")) == trial.bright


async def test_capacity_is_kept_and_given_back(trial: Trial) -> None:
    trial.client.open("e")
    with pytest.raises(CapacityExceeded):
        trial.client.open("f")
    trial.client.release("e")
    trial.client.open("f")


@pytest.mark.parametrize(("width", "height"), [(160, 120), (1280, 720), (720, 1280)])
async def test_any_camera_size_is_taken(width: int, height: int, trial: Trial) -> None:
    frame = camera_frame(width=width, height=height)
    shown = await trial.feed(10, frame, until=lambda shown: shown.generated)
    assert shown.generated


async def test_what_a_driver_sends_after_it_left_is_dropped(trial: Trial) -> None:
    trial.client.release("d")
    trial.client.submit("d", FACE, time.monotonic())
    assert trial.client.latest("d").state == "no_video"


async def test_closing_ends_the_process(data_dir: Path) -> None:
    client = InferenceClient(TargetStore(data_dir).load, data_dir, capacity=1)
    await client.start()
    pid = client.pid
    assert pid is not None
    await client.close()
    assert not psutil.pid_exists(pid)
