"""A media service with a fake inference and browsers that are real aiortc peers in the same process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from server.media.aiortc_peer import AiortcPeerFactory
from server.media.colour import i420_to_rgb, rgb_to_i420
from server.media.interfaces import Inference
from server.media.mends.gathering import bound_gathering
from server.media.mends.vp8_encoder import bounds_for
from server.media.service import Limits, MediaService
from signaling.protocol import (
    DriverState,
    DriverUpdate,
    Message,
    SessionDescription,
    SessionSignal,
    WorkerError,
    WorkerSignal,
)

SIZE = 128
#: No picture that inference makes here comes near the camera's colour.
CAMERA = (255, 0, 255)
STILL = (40, 90, 40)
GENERATED = (40, 40, 200)


def plain(colour: tuple[int, int, int], width: int = SIZE, height: int = SIZE) -> NDArray[np.uint8]:
    return rgb_to_i420(np.full((height, width, 3), colour, np.uint8))


@dataclass(frozen=True)
class FakeFrame:
    sequence: int
    i420: NDArray[np.uint8]
    state: DriverState
    driver_time: float | None
    generated: bool


@dataclass
class FakeDriver:
    target: str | None = None
    camera: bool = True
    sequence: int = 0
    submitted: int = 0
    sizes: set[tuple[int, int]] = field(default_factory=set)
    frame: FakeFrame | None = None
    recalibrated: int = 0
    reactions: list[str] = field(default_factory=list)


class CapacityExceeded(Exception):
    """As the real client's."""


class FakeInference:
    """Answers each camera picture with a plain picture at once; stills in another colour otherwise."""

    def __init__(self, capacity: int = 100) -> None:
        self.capacity = capacity
        self.dead = False
        self.drivers: dict[str, FakeDriver] = {}
        self.picture_ready: Callable[[str], None] = lambda driver: None

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def open(self, driver: str) -> None:
        if len(self.drivers) >= self.capacity:
            raise CapacityExceeded(driver)
        assert driver not in self.drivers
        self.drivers[driver] = FakeDriver()

    def release(self, driver: str) -> None:
        del self.drivers[driver]

    def set_target(self, driver: str, target_id: str | None) -> None:
        self.drivers[driver].target = target_id

    def set_camera(self, driver: str, on: bool) -> None:
        self.drivers[driver].camera = on

    def recalibrate(self, driver: str) -> None:
        self.drivers[driver].recalibrated += 1

    def react(self, driver: str, template: str) -> None:
        self.drivers[driver].reactions.append(template)

    def submit(self, driver: str, frame: av.VideoFrame, received: float) -> None:
        held = self.drivers[driver]
        assert held.camera, "a picture was submitted while the camera is off"
        held.submitted += 1
        held.sizes.add((frame.width, frame.height))
        if held.target is None or self.dead:
            return
        held.sequence += 1
        held.frame = FakeFrame(held.sequence, plain(GENERATED), "live", received, True)
        self.picture_ready(driver)

    def latest(self, driver: str) -> FakeFrame:
        held = self.drivers[driver]
        frame = held.frame
        if frame is None or frame.driver_time is None or time.monotonic() - frame.driver_time > 0.5:
            return FakeFrame(held.sequence, plain(STILL), "no_video", None, False)
        return frame

    def stats(self, driver: str) -> object:
        return None


class Camera(MediaStreamTrack):
    """A camera that sees one colour, or a scene: a function of the frame's number to ``[H, W, 3]``."""

    kind = "video"

    def __init__(
        self,
        colour: tuple[int, int, int] = CAMERA,
        width: int = 320,
        height: int = 240,
        scene: Callable[[int], NDArray[np.uint8]] | None = None,
    ) -> None:
        super().__init__()
        self.scene = scene
        self.size = (width, height)
        self.colour = colour
        self.fps = 30.0
        self._next = self._began = time.monotonic()
        self._frames = 0

    @staticmethod
    def picture(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
        """What a viewer would see if the camera came through: ``[H, W, 3]``."""
        return i420_to_rgb(plain(colour))

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self._next - time.monotonic()))
        self._next = max(self._next, time.monotonic() - 0.1) + 1 / self.fps
        i420 = rgb_to_i420(self.scene(self._frames)) if self.scene else plain(self.colour, *self.size)
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        # Counted from the camera's start and never masked: libvpx refuses a picture that is before its last.
        frame.pts = int((time.monotonic() - self._began) * 90000)
        frame.time_base = Fraction(1, 90000)
        self._frames += 1
        return frame


class Tone(MediaStreamTrack):
    """A microphone that hears a tone of 440 Hz."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._samples = 0
        self._began = time.monotonic()

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self._began + self._samples / 48000 - time.monotonic()))
        t = (np.arange(960) + self._samples) / 48000
        sound = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(sound[None, :], format="s16", layout="mono")
        frame.sample_rate = 48000
        frame.pts = self._samples
        frame.time_base = Fraction(1, 48000)
        self._samples += 960
        return frame


class Browser:
    """One peer connection of a browser; keeps what it receives."""

    def __init__(self, terminal: str, session: str, peer: str | None = None) -> None:
        self.terminal = terminal
        self.session = session
        self.peer = peer
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pictures: list[tuple[float, NDArray[np.uint8]]] = []
        self.timestamps: list[int] = []
        self.loudness: list[tuple[float, float]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", self._track)

    def _track(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._read(track)))

    async def _read(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, av.VideoFrame):
                    self.pictures.append((time.monotonic(), i420_to_rgb(frame.to_ndarray(format="yuv420p"))))
                    self.timestamps.append(frame.pts or 0)
                    del self.pictures[:-300]
                elif isinstance(frame, av.AudioFrame):
                    level = float(np.abs(frame.to_ndarray().astype(np.float32)).mean())
                    self.loudness.append((time.monotonic(), level))
        except MediaStreamError:
            pass

    def publish(self, camera: Camera | None = None, microphone: Tone | None = None) -> None:
        if camera:
            self.connection.addTransceiver(camera, "sendrecv")
        if microphone:
            self.connection.addTransceiver(microphone, "sendonly")

    def subscribe(self) -> None:
        self.connection.addTransceiver("video", "recvonly")
        self.connection.addTransceiver("audio", "recvonly")

    async def offer(self) -> SessionSignal:
        for transceiver in self.connection.getTransceivers():  # also without a network there is loopback
            bound_gathering(transceiver.receiver.transport.transport.iceGatherer._connection)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return SessionSignal(
            terminal=self.terminal,
            session=self.session,
            channel="publish" if self.peer is None else "subscribe",
            peer=self.peer,
            description=SessionDescription(type="offer", sdp=self.connection.localDescription.sdp),
        )

    async def take(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    @property
    def colour(self) -> tuple[int, int, int]:
        """The middle of the newest picture."""
        picture = self.pictures[-1][1]
        height, width = picture.shape[:2]
        middle = picture[height // 4 : -height // 4, width // 4 : -width // 4]
        red, green, blue = (int(value) for value in middle.mean((0, 1)))
        return red, green, blue

    async def close(self) -> None:
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Call:
    """A media service, what it sent, and browsers that are closed at the end."""

    def __init__(
        self, limits: Limits | None = None, capacity: int = 100, real: Inference | None = None
    ) -> None:
        self.inference = FakeInference(capacity)
        self.peers = AiortcPeerFactory(bounds_for(SIZE))
        self.sent: list[Message] = []
        self.service = MediaService(
            real or self.inference, self.peers, self._send, limits or Limits(connect_s=5, linger_s=0.2)
        )
        self.inference.picture_ready = self.service.picture_ready
        self.browsers: list[Browser] = []
        self._answers: dict[tuple[str, str], asyncio.Future[str]] = {}

    def _send(self, message: Message) -> None:
        self.sent.append(message)
        if isinstance(message, WorkerSignal) and message.description:
            answer = self.answer(message.terminal, message.session)
            if not answer.done():
                answer.set_result(message.description.sdp)

    def answer(self, terminal: str, session: str) -> asyncio.Future[str]:
        return self._answers.setdefault((terminal, session), asyncio.get_running_loop().create_future())

    @property
    def errors(self) -> list[WorkerError]:
        return [message for message in self.sent if isinstance(message, WorkerError)]

    def announce(
        self,
        terminal: str,
        viewers: list[str] | None = None,
        target: str | None = "astronaut",
        camera: bool = True,
        microphone: bool = True,
    ) -> None:
        self.service.update(
            DriverUpdate(
                terminal=terminal,
                name=terminal,
                target=target,
                camera=camera,
                microphone=microphone,
                viewers=viewers or [],
            )
        )

    async def publish(
        self, terminal: str, session: str = "p1", camera: Camera | None = None, sound: bool = True
    ) -> Browser:
        browser = Browser(terminal, session)
        self.browsers.append(browser)
        browser.publish(camera or Camera(), Tone() if sound else None)
        self.service.signal(await browser.offer())
        await browser.take(await asyncio.wait_for(self.answer(terminal, session), 5))
        return browser

    async def subscribe(self, terminal: str, peer: str, session: str = "s1") -> Browser:
        browser = Browser(terminal, session, peer)
        self.browsers.append(browser)
        browser.subscribe()
        self.service.signal(await browser.offer())
        await browser.take(await asyncio.wait_for(self.answer(terminal, session), 5))
        return browser

    async def close(self) -> None:
        await asyncio.gather(*(browser.close() for browser in self.browsers))
        await self.service.close()
        self.peers.close()


async def until(condition: Callable[[], object], limit: float = 10.0) -> None:
    """Wait for a condition; fails when it does not come true."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.02)


def near(colour: Sequence[float], wanted: Sequence[float], within: int = 25) -> bool:
    return all(abs(a - b) <= within for a, b in zip(colour, wanted, strict=True))


def shows(browser: Browser, colour: tuple[int, int, int]) -> bool:
    """Whether pictures arrive and the newest has the colour."""
    return len(browser.pictures) > 3 and near(browser.colour, colour)
