"""A service with real signaling, targets and media, and an inference that shows what a test wants."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from aiohttp import web
from PIL import Image

from server.media.aiortc_peer import AiortcPeerFactory
from server.media.colour import i420_to_rgb, rgb_to_i420
from server.media.mends.vp8_encoder import bounds_for
from server.media.service import Limits
from server.provenance import Watermark
from server.targets.store import TargetStore
from server.worker import Worker, WorkerSettings
from signaling.app import SIGNALING, setup_signaling
from signaling.config import SignalingConfig
from signaling.switchboard import Switchboard
from tests.integration.media.harness import FakeDriver, FakeFrame, FakeInference

SIZE = 256
SECRET = "between us"


class Showing(Enum):
    """What is sent in place of the camera."""

    TARGET = auto()  # the right one, with the watermark
    OTHER_TARGET = auto()
    UNMARKED = auto()
    CAMERA = auto()  # a leak
    CAMERA_CROPPED = auto()  # the face alone, scaled to the square that calls show
    NOTHING_NEW = auto()  # the first picture for ever


class Inference(FakeInference):
    """Shows targets' still pictures, a little moved with each frame of the camera."""

    def __init__(self, store: TargetStore, showing: Showing) -> None:
        super().__init__()
        self.showing = showing
        self.now_live: Callable[[str], None] = lambda driver: None
        self._stills = {
            record.id: np.array(Image.open(io.BytesIO(store.thumbnail(record.id))).convert("RGB"))
            for record in store.built_ins()
        }
        self._watermark = Watermark(SIZE, SIZE)

    def submit(self, driver: str, frame: av.VideoFrame, received: float) -> None:
        held = self.drivers[driver]
        if held.target is None or (self.showing is Showing.NOTHING_NEW and held.sequence > 5):
            return
        held.sequence += 1
        if held.sequence == 1:
            self.now_live(driver)
        held.frame = FakeFrame(held.sequence, self._picture(held.target, frame), "live", received, True)
        self.picture_ready(driver)

    def latest(self, driver: str) -> FakeFrame:
        held = self.drivers.get(driver, FakeDriver())
        if held.frame is not None:
            return held.frame
        return FakeFrame(
            held.sequence, rgb_to_i420(np.zeros((SIZE, SIZE, 3), np.uint8)), "no_video", None, False
        )

    def stats(self, driver: str) -> object:
        class Figures:
            generator, fps, frame_ms, age_ms, size = "fake", 15.0, 2.0, 3.0, SIZE

        return Figures()

    def _picture(self, target: str, frame: av.VideoFrame) -> np.ndarray:
        if self.showing in (Showing.CAMERA, Showing.CAMERA_CROPPED):
            camera = i420_to_rgb(np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8))
            if self.showing is Showing.CAMERA_CROPPED:
                camera = camera[20:460, 100:540]
            picture = cv2.resize(camera, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        else:
            names = sorted(self._stills)
            other = names[(names.index(target) + 1) % len(names)]
            still = self._stills[other if self.showing is Showing.OTHER_TARGET else target]
            picture = np.roll(still, int(5 * time.monotonic()) % 12, axis=0)
        planes = rgb_to_i420(picture)
        if self.showing is not Showing.UNMARKED:
            self._watermark.apply(planes[:SIZE])
        return planes


class FakeService:
    """Signaling, the targets' part of the page's API, and a media worker, in this process.

    Args:
        folder: for targets.
        showing: what the worker sends.
    """

    def __init__(self, folder: Path, showing: Showing) -> None:
        self._store = TargetStore(folder)
        self.inference = Inference(self._store, showing)
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._stop = asyncio.Event()
        self._running: asyncio.Task[Any] | None = None

    async def start(self, **settings: Any) -> None:
        app = web.Application()
        signaling = setup_signaling(app, SignalingConfig(worker_secret=SECRET, tick_s=0.05, **settings))
        app.router.add_get("/api/config", self._config)
        app.router.add_get("/api/targets", self._targets)
        app.router.add_get("/api/targets/{id}/image", self._image)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        worker = Worker(
            WorkerSettings(
                signaling_url=f"ws://127.0.0.1:{port}/worker",
                secret=SECRET,
                worker_id="w",
                capacity=8,
                drain_s=0,
                limits=Limits(connect_s=5, linger_s=0.2),
            ),
            self.inference,
            AiortcPeerFactory(bounds_for(SIZE)),
        )
        self.inference.picture_ready = worker.picture_ready
        self.inference.now_live = lambda driver: worker.status_changed(driver, "live", "")
        self._running = asyncio.create_task(worker.run(self._stop))
        async with asyncio.timeout(10):
            while not signaling.workers:
                await asyncio.sleep(0.02)

    @property
    def board(self) -> Switchboard:
        """Signaling's state machine."""
        assert self._runner is not None
        return self._runner.app[SIGNALING].switchboard

    async def stop(self) -> None:
        self._stop.set()
        if self._running is not None:
            await asyncio.wait_for(self._running, 5)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _config(self, request: web.Request) -> web.Response:
        return web.json_response({"size": SIZE})

    async def _targets(self, request: web.Request) -> web.Response:
        targets = [{"id": record.id, "name": record.name} for record in self._store.built_ins()]
        return web.json_response({"targets": targets})

    async def _image(self, request: web.Request) -> web.Response:
        return web.Response(body=self._store.thumbnail(request.match_info["id"]), content_type="image/webp")
