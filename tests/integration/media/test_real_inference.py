"""Calls with the real inference process: the camera's own pixels reach nobody, whatever happens.

The camera sees a face in a frame of a colour that no target has. Wherever that colour turned up at a viewer,
camera pixels would have come through.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from skimage import data

from server.inference.client import InferenceClient
from server.media.service import Limits
from server.targets.store import TargetStore
from signaling.protocol import DriverState
from tests.integration.media.harness import CAMERA, Browser, Call, Camera, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDTH, HEIGHT = 640, 480


def face_in_a_frame(number: int) -> NDArray[np.uint8]:
    """A face that nods, within a broad border of the camera's colour: ``[480, 640, 3]``."""
    scene = np.full((HEIGHT, WIDTH, 3), CAMERA, np.uint8)
    photo = cv2.resize(data.astronaut()[:400, 60:460], (360, 360), interpolation=cv2.INTER_AREA)
    y = 60 + int(10 * np.sin(number / 10))
    scene[y : y + 360, 140:500] = photo
    return scene


def camera_pixels(picture: NDArray[np.uint8]) -> float:
    """Share of a picture's pixels (``[H, W, 3]``) that have the camera's colour."""
    return float((np.abs(picture.astype(int) - CAMERA).max(axis=-1) < 70).mean())


@dataclass
class Stage:
    """A call with the real client, a driver and one who sees them."""

    client: InferenceClient
    call: Call
    states: dict[str, DriverState] = field(default_factory=dict)

    async def meet(self, camera: Camera, target: str | None = "astronaut") -> tuple[Browser, Browser]:
        self.call.announce("alice", viewers=["bob"], target=target)
        self.call.announce("bob", viewers=["alice"])
        publisher = await self.call.publish("alice", camera=camera)
        viewer = await self.call.subscribe("bob", "alice")
        await until(lambda: viewer.pictures and publisher.pictures)
        return publisher, viewer

    async def reaches(self, state: DriverState, limit: float = 60) -> None:
        await until(lambda: self.states.get("alice") == state, limit)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[InferenceClient, list[Stage]]]:
    folder: Path = tmp_path_factory.mktemp("data")
    stages: list[Stage] = []

    def status(driver: str, state: DriverState, detail: str) -> None:
        stages[-1].states[driver] = state

    made = InferenceClient(
        TargetStore(folder).load,
        folder,
        size=256,
        on_status=status,
        on_picture=lambda driver: stages[-1].call.service.picture_ready(driver),
    )
    await made.start()
    yield made, stages
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def stage(client: tuple[InferenceClient, list[Stage]]) -> AsyncIterator[Stage]:
    made, stages = client
    stage = Stage(made, Call(Limits(connect_s=10, linger_s=0.1), real=made))
    stages.append(stage)
    yield stage
    await stage.call.close()
    for browser in stage.call.browsers:
        for _, picture in browser.pictures:
            assert camera_pixels(picture) < 0.001


async def test_this_file_would_notice_the_camera() -> None:
    assert camera_pixels(face_in_a_frame(0)) > 0.3
    assert camera_pixels(Camera.picture(CAMERA)) == 1


async def test_a_face_drives_the_target_and_is_calibrated(stage: Stage) -> None:
    publisher, viewer = await stage.meet(Camera(scene=face_in_a_frame))
    await stage.reaches("live")
    before = len(viewer.pictures)
    await until(lambda: len(viewer.pictures) > before + 20)
    assert np.abs(viewer.pictures[-1][1].astype(int) - viewer.pictures[before][1]).max() > 20, "it moves"
    assert publisher.pictures[-1][1].shape == (256, 256, 3)
    figures = stage.client.stats("alice")
    assert figures is not None
    assert figures.size == 256


async def test_no_face_shows_the_still(stage: Stage) -> None:
    await stage.meet(Camera(width=WIDTH, height=HEIGHT))
    await stage.reaches("no_face")


async def test_a_face_that_is_lost_and_found(stage: Stage) -> None:
    camera = Camera(scene=face_in_a_frame)
    await stage.meet(camera)
    await stage.reaches("live")
    camera.scene = lambda number: np.full((HEIGHT, WIDTH, 3), CAMERA, np.uint8)
    await stage.reaches("no_face")
    camera.scene = face_in_a_frame
    await stage.reaches("live")


async def test_no_target_shows_a_card(stage: Stage) -> None:
    await stage.meet(Camera(scene=face_in_a_frame), target=None)
    await stage.reaches("no_target")
    stage.call.announce("alice", viewers=["bob"], target="no-such-target")
    await stage.reaches("failed")
    stage.call.announce("alice", viewers=["bob"], target="astronaut")
    await stage.reaches("live")


async def test_a_camera_turned_off_and_on(stage: Stage) -> None:
    await stage.meet(Camera(scene=face_in_a_frame))
    await stage.reaches("live")
    stage.call.announce("alice", viewers=["bob"], camera=False)
    await stage.reaches("camera_off")
    stage.call.announce("alice", viewers=["bob"])
    await stage.reaches("live")


async def test_a_driver_who_vanishes_and_publishes_anew(stage: Stage) -> None:
    publisher, viewer = await stage.meet(Camera(scene=face_in_a_frame))
    await stage.reaches("live")
    await publisher.close()
    await stage.reaches("no_video")
    await stage.call.publish("alice", "p2", camera=Camera(scene=face_in_a_frame))
    await stage.reaches("live")
    assert viewer.connection.connectionState == "connected"


async def test_a_dead_inference_process(stage: Stage) -> None:
    _, viewer = await stage.meet(Camera(scene=face_in_a_frame))
    await stage.reaches("live")
    assert stage.client.pid is not None
    os.kill(stage.client.pid, signal.SIGKILL)
    await stage.reaches("restarting")
    before = len(viewer.pictures)
    await until(lambda: len(viewer.pictures) > before + 2)
    await stage.reaches("live")
    assert stage.client.restarts == 1


async def test_a_hanging_inference_process(stage: Stage) -> None:
    _, viewer = await stage.meet(Camera(scene=face_in_a_frame))
    await stage.reaches("live")
    assert stage.client.pid is not None
    os.kill(stage.client.pid, signal.SIGSTOP)
    await until(lambda: stage.states["alice"] in {"late", "restarting"})
    before = len(viewer.pictures)
    await until(lambda: len(viewer.pictures) > before + 2)
    os.kill(stage.client.pid, signal.SIGCONT)
    await stage.reaches("live")


async def test_the_sound_of_a_driver_without_a_picture(stage: Stage) -> None:
    stage.call.announce("alice", viewers=["bob"], camera=False)
    stage.call.announce("bob", viewers=["alice"])
    await stage.call.publish("alice", camera=Camera(scene=face_in_a_frame))
    viewer = await stage.call.subscribe("bob", "alice")
    await until(lambda: viewer.loudness and viewer.loudness[-1][1] > 1000)
    await asyncio.sleep(0.2)
