"""Cameras of every kind: each has a defined outcome, none is ever seen itself, none takes endless memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import psutil
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from skimage import data

from server.bench.driver import PacketTrack
from server.inference.client import InferenceClient
from server.media.service import Limits
from server.targets.store import TargetStore
from signaling.protocol import DriverState, SessionDescription
from tests.integration.media.harness import CAMERA, Browser, Call, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Scene = Callable[[int, int, int], NDArray[np.uint8]]


def face(width: int, height: int, number: int) -> NDArray[np.uint8]:
    """A nodding face within a border of the camera's colour: ``[height, width, 3]``."""
    side = int(0.75 * min(width, height))
    scene = np.full((height, width, 3), CAMERA, np.uint8)
    photo = cv2.resize(data.astronaut()[:400, 60:460], (side, side), interpolation=cv2.INTER_AREA)
    top = (height - side) // 2 + int(0.02 * height * math.sin(number / 3))
    left = (width - side) // 2
    scene[top : top + side, left : left + side] = photo
    return scene


def lying(width: int, height: int, number: int) -> NDArray[np.uint8]:
    """The same, by a camera that lies on its side and does not say so."""
    return np.rot90(face(height, width, number))


def black(width: int, height: int, number: int) -> NDArray[np.uint8]:
    """What a camera with its cover closed sees."""
    return np.zeros((height, width, 3), np.uint8)


def coded(scene: Scene, width: int, height: int, count: int) -> list[bytes]:
    """VP8 frames of a scene, the first one a keyframe; also of odd sizes, which I420 rounds up."""
    codec = av.CodecContext.create("libvpx", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.bit_rate, codec.time_base, codec.gop_size = 2_000_000, Fraction(1, 15), 1000
    codec.thread_count = 1
    codec.options = {"deadline": "realtime", "cpu-used": "12", "lag-in-frames": "0"}
    packets: list[bytes] = []
    for number in range(count):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene(width, height, number)), "rgb24")
        picture = picture.reformat(format="yuv420p")
        picture.pts = number
        packets += [bytes(packet) for packet in codec.encode(picture)]
    return packets


@dataclass
class Stage:
    """One driver with the real inference, and a viewer who stays while cameras change."""

    client: InferenceClient
    call: Call
    viewer: Browser
    state: list[DriverState] = field(default_factory=list)
    seen: int = 0

    async def show(self, packets: list[bytes], fps: int) -> Browser:
        """Publish anew with this camera, and wait until it is the one that drives."""
        self.seen += 1
        session = f"p{self.seen}"
        browser = Browser("alice", session)
        browser.connection.addTransceiver(PacketTrack("video", packets, fps), "sendrecv")
        self.call.browsers.append(browser)
        self.call.service.signal(await browser.offer())
        await browser.take(await asyncio.wait_for(self.call.answer("alice", session), 5))
        driver = self.call.service._drivers["alice"]
        await until(lambda: driver.publisher is not None and driver.publisher.name == session)
        return browser

    async def cover(self) -> None:
        """Camera off and on, so that what was seen before does not count."""
        self.call.announce("alice", viewers=["alice", "bob"], camera=False)
        await self.reaches("camera_off")
        self.call.announce("alice", viewers=["alice", "bob"])
        self.state.clear()

    async def reaches(self, *states: DriverState) -> None:
        await until(lambda: self.state[-1:] and self.state[-1] in states, 30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("data")
    states: list[DriverState] = []
    calls: list[Call] = []

    def status(driver: str, state: DriverState, detail: str) -> None:
        states.append(state)

    client = InferenceClient(
        TargetStore(folder).load,
        folder,
        size=256,
        on_status=status,
        on_picture=lambda driver: calls[0].service.picture_ready(driver),
    )
    await client.start()
    call = Call(Limits(connect_s=10, linger_s=5), real=client)
    calls.append(call)
    call.announce("alice", viewers=["alice", "bob"])
    call.announce("bob", viewers=["bob", "alice"])
    viewer = await call.subscribe("bob", "alice")
    made = Stage(client, call, viewer, states)
    yield made
    await call.close()
    await client.close()
    # Whatever came in: nobody was ever shown the colour that only the camera saw.
    for browser in call.browsers:
        for _, picture in browser.pictures:
            assert (np.abs(picture.astype(int) - CAMERA).max(axis=-1) < 70).mean() < 0.001


CASES: dict[str, tuple[Scene, int, int, int, DriverState]] = {
    "4K": (face, 3840, 2160, 15, "live"),
    "portrait": (face, 480, 640, 15, "live"),
    "tall": (face, 720, 1280, 30, "live"),
    "odd": (face, 175, 143, 15, "live"),
    "odd and wide": (face, 641, 361, 15, "live"),
    "on its side": (lying, 640, 480, 15, "live"),  # the face is found, and the target drawn, lying
    "black": (black, 640, 480, 15, "no_face"),
    "tiny": (black, 16, 16, 15, "no_face"),
    "thin": (black, 2000, 2, 15, "no_video"),
    "one pixel": (black, 1, 1, 15, "no_video"),
    "more than 4K": (face, 4096, 2304, 15, "no_video"),  # refused before it is decoded
}


@pytest.mark.parametrize(("scene", "width", "height", "fps", "outcome"), CASES.values(), ids=CASES)
async def test_every_camera_has_an_outcome(
    stage: Stage, scene: Scene, width: int, height: int, fps: int, outcome: DriverState
) -> None:
    """Found: at 4K and 15 fps 14 pictures a second at the viewer, and 140 MB more while it lasts."""
    packets = coded(scene, width, height, 10)
    before = psutil.Process().memory_info().rss
    await stage.cover()
    await stage.show(packets, fps)
    await stage.reaches(outcome)
    shown = len(stage.viewer.timestamps)
    await until(lambda: len(stage.viewer.timestamps) > shown + 5)  # a picture, or the still
    assert psutil.Process().memory_info().rss - before < 450 * 2**20


async def test_one_picture_a_second(stage: Stage) -> None:
    """A picture older than half a second is not shown as live: after the first it is the still, for good,
    rather than the still and a picture by turns."""
    await stage.cover()
    await stage.show(coded(face, 640, 480, 5), 1)
    await stage.reaches("no_video")
    before = len(stage.state)
    await asyncio.sleep(3)
    assert set(stage.state[before:]) <= {"live", "no_video"}
    assert len(stage.state) - before <= 4


async def test_a_size_that_changes_again_and_again(stage: Stage) -> None:
    """A call goes on over every change of size, as when a phone is turned or a browser saves bitrate."""
    sizes = [(640, 480), (320, 240), (480, 640), (175, 143), (1280, 720), (3840, 2160), (16, 16), (640, 480)]
    packets = [packet for width, height in sizes for packet in coded(face, width, height, 5)]
    await stage.cover()
    before = psutil.Process().memory_info().rss
    await stage.show(packets, 15)
    await stage.reaches("live")
    await asyncio.sleep(2 * len(packets) / 15)
    await stage.reaches("live")
    assert psutil.Process().memory_info().rss - before < 450 * 2**20


async def test_pictures_are_never_to_be_turned_on_arrival(stage: Stage) -> None:
    """A browser that may send the orientation beside the picture (3GPP TS 26.114, section 7.4.5) sends
    pictures lying on their side. It may not, since the answer leaves the extension out: it turns them."""
    browser = Browser("alice", "turned")
    browser.connection.addTransceiver(PacketTrack("video", coded(black, 64, 48, 1), 15), "sendrecv")
    stage.call.browsers.append(browser)
    signal = await browser.offer()
    assert signal.description is not None
    sdp = signal.description.sdp.replace(
        "a=rtcp-mux\r\n", "a=rtcp-mux\r\na=extmap:13 urn:3gpp:video-orientation\r\n"
    )
    assert "video-orientation" in sdp
    stage.call.service.signal(
        signal.model_copy(update={"description": SessionDescription(type="offer", sdp=sdp)})
    )
    answer = await asyncio.wait_for(stage.call.answer("alice", "turned"), 5)
    assert "a=extmap:" in answer
    assert "video-orientation" not in answer
