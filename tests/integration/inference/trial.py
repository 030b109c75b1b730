"""A client of the inference process under test: feeds it, and looks at every picture that it shows.

The camera shows the astronaut on magenta; the targets hold neither.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import skimage.data

from server.inference.client import GeneratedFrame, InferenceClient
from server.targets.store import Consent, TargetStore
from signaling.protocol import DriverState
from tests.integration.inference.faults import BRIGHT_CORNER

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


def state_is(*states: DriverState) -> Callable[[GeneratedFrame], bool]:
    return lambda shown: shown.state in states


def make_targets(folder: Path) -> None:
    """Uploads ``green`` and ``bright``: the astronaut in colours of their own."""
    store = TargetStore(folder)
    prepared = store.load("astronaut")
    colours = {"green": (0.35, 0.8, 0.4), "bright": (1.35, 1.1, 0.6)}
    for name, colour in colours.items():
        photo = tinted(prepared.images[:1], colour)
        if name == "bright":
            photo[:, :16, :16] = BRIGHT_CORNER
        record = store.save(
            photo,
            prepared.landmarks[:1],
            name=name,
            consent=Consent("I may use this picture.", time.time()),
        )
        (folder / f"{name}.id").write_text(record.id)


def make_trial(folder: Path, fault: Path, **options: Any) -> Trial:
    """A client, not started, with the generator of :mod:`tests.integration.inference.faults`.

    Args:
        options: of the client.
    """
    store = TargetStore(folder)
    ids = [(folder / f"{name}.id").read_text() for name in ("green", "bright")]
    targets = {
        target_id: cv2.resize(store.load(target_id).images[0], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        for target_id in (*ids, "astronaut")
    }
    trial: Trial
    client = InferenceClient(
        store.load,
        folder,
        size=SIZE,
        generator="tests.integration.inference.faults:switched",
        hang_s=1.5,
        **{"capacity": 2, **options},
        on_status=lambda driver, state, _: trial.statuses.append((driver, state)),
    )
    trial = Trial(client, fault, targets)
    return trial
