"""The real inference process, broken in every way: the camera's picture is never among what is shown.

The camera shows the astronaut on magenta; the targets hold neither. Each trial looks at every picture that
``latest`` gives while it goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest
import pytest_asyncio
import skimage.data

from server.inference.client import CapacityExceeded, GeneratedFrame, InferenceClient
from server.provenance import MarkSettings
from server.targets.store import Consent, PreparedTarget, TargetStore
from signaling.protocol import DriverState

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[3]
MAGENTA = (255, 0, 255)
SIZE = 256


def camera_frame(face: bool = True, width: int = 640, height: int = 480) -> av.VideoFrame:
    picture = np.full((height, width, 3), MAGENTA, np.uint8)
    if face:
        side = int(min(width, height) * 0.8)
        face = cv2.resize(skimage.data.astronaut()[:290, 80:370], (side, side))
        picture[height // 10 : height // 10 + side, width // 10 : width // 10 + side] = face
    return av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")


FACE, NO_FACE = camera_frame(), camera_frame(face=False)


class Trial:
    """A client under test, and everything it showed."""

    def __init__(self, client: InferenceClient, fault: Path, targets: dict[str, np.ndarray]) -> None:
        self.client = client
        self.fault = fault
        self.targets = targets
        self.green, self.bright, _ = targets
        self.statuses: list[tuple[str, DriverState]] = []

    async def feed(
        self,
        seconds: float,
        frame: av.VideoFrame | None = FACE,
        *,
        driver: str = "d",
        until: Callable[[GeneratedFrame], bool] = lambda _: False,
    ) -> GeneratedFrame:
        """Send a camera frame 25 times a second and look at what is shown, until it is as wanted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if frame is not None:
                self.client.submit(driver, frame, time.monotonic())
            await asyncio.sleep(0.04)
            shown = self.client.latest(driver)
            assert_no_camera(shown)
            if until(shown):
                return shown
        return self.client.latest(driver)

    async def live(self, driver: str = "d", seconds: float = 20) -> GeneratedFrame:
        """Feed until generated frames are shown."""
        shown = await self.feed(seconds, driver=driver, until=lambda shown: shown.generated)
        assert shown.generated, shown.state
        return shown

    def looks_like(self, shown: GeneratedFrame) -> str:
        """The target that the picture is nearest to."""
        picture = rgb(shown).astype(float)
        distance = {name: np.abs(picture - photo).mean() for name, photo in self.targets.items()}
        return min(distance, key=lambda name: distance[name])


def rgb(shown: GeneratedFrame) -> np.ndarray:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(shown.i420), cv2.COLOR_YUV2RGB_I420))


def assert_no_camera(shown: GeneratedFrame) -> None:
    picture = rgb(shown).astype(int)
    magenta = (picture[..., 0] > 170) & (picture[..., 1] < 90) & (picture[..., 2] > 170)
    assert magenta.mean() < 0.001, "the camera's background is shown"


def tinted(photo: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    return np.clip(photo * np.array(colour), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Uploads ``green`` and ``bright``: the astronaut in colours of their own."""
    folder = tmp_path_factory.mktemp("data")
    store = TargetStore(folder)
    prepared = store.load("astronaut")
    colours = {"green": (0.35, 0.8, 0.4), "bright": (1.35, 1.1, 0.6)}
    for name, colour in colours.items():
        record = store.save(
            tinted(prepared.images[:1], colour),
            prepared.landmarks[:1],
            name=name,
            consent=Consent("I may use this picture.", time.time()),
        )
        (folder / f"{name}.id").write_text(record.id)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    """One client with one inference process for all trials; those that kill it get another."""
    fault = tmp_path_factory.mktemp("fault") / "fault"
    store = TargetStore(data_dir)
    ids = [(data_dir / f"{name}.id").read_text() for name in ("green", "bright")]
    targets = {
        target_id: cv2.resize(store.load(target_id).images[0], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        for target_id in (*ids, "astronaut")
    }
    trial: Trial
    client = InferenceClient(
        store.load,
        data_dir,
        size=SIZE,
        capacity=2,
        generator="tests.integration.inference.faults:switched",
        hang_s=1.5,
        on_status=lambda driver, state, _: trial.statuses.append((driver, state)),
    )
    trial = Trial(client, fault, targets)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("UNDERSTUDY_TEST_FAULT", str(fault))
        environment.setenv("PYTHONPATH", str(ROOT))
        await client.start()
        yield trial
        await client.close()


@pytest.fixture
def trial(shared: Trial) -> Iterator[Trial]:
    """The client with one driver, ``d``, behind the green target."""
    shared.statuses.clear()
    shared.client.open("d")
    shared.client.set_target("d", shared.green)
    yield shared
    shared.fault.unlink(missing_ok=True)
    for driver in ("d", "e", "f", "next"):
        shared.client.release(driver)


def state_is(*states: DriverState) -> Callable[[GeneratedFrame], bool]:
    return lambda shown: shown.state in states


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
    trial.fault.write_text("raise on red")
    for _ in range(20):
        await asyncio.gather(trial.feed(0.1, driver="e"), trial.feed(0.1, driver="d"))
    assert trial.client.latest("d").generated
    assert trial.client.latest("e").state == "failed"


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


async def test_stills_of_every_state_are_marked(data_dir: Path) -> None:
    from server.inference.stills import NOTICES, Stills

    photo = np.full((512, 512, 3), 120, np.uint8)

    def load(_: str) -> PreparedTarget:
        return PreparedTarget("x", "x", photo[None], np.zeros((1, 478, 3), np.float32))

    stills = Stills(load, SIZE, MarkSettings())
    stills.prepare("x")
    end = time.monotonic() + 10
    while not stills.ready("x") and time.monotonic() < end:
        await asyncio.sleep(0.01)
    for state in NOTICES:
        picture = np.asarray(cv2.cvtColor(stills.get("x", state).copy(), cv2.COLOR_YUV2RGB_I420))
        assert np.ptp(picture[-14:, -80:].astype(int)) > 100, state
    stills.close()


async def test_a_damaged_target_is_missing_and_shows_the_card() -> None:
    from server.inference.stills import Stills

    def load(_: str) -> PreparedTarget:
        raise OSError("disk")

    stills = Stills(load, SIZE, MarkSettings())
    stills.prepare("x")
    end = time.monotonic() + 10
    while not stills.missing("x") and time.monotonic() < end:
        await asyncio.sleep(0.01)
    assert stills.missing("x")
    assert stills.get("x", "failed") is stills.get(None, "failed")
    stills.close()
