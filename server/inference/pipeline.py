"""A camera frame's way through the models: landmarks, retargeting, generation, mark."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.generator import Generator, TargetFeatures
from models.landmarks.detector import FaceDetector
from models.landmarks.driver import DriverTracker
from models.landmarks.retarget import RetargetTarget, retarget
from server.inference.memory import FrameSlots
from server.inference.messages import Assign, CameraFrame, Done, InferenceSettings, Outcome
from server.provenance import VisibleMark
from server.targets.store import TargetStore

logger = logging.getLogger(__name__)


@dataclass
class _Target:
    features: TargetFeatures
    retargeting: RetargetTarget


@dataclass
class _Driver:
    """One slot."""

    epoch: int
    target_id: str | None
    detector: FaceDetector
    tracker: DriverTracker = field(default_factory=DriverTracker)
    target: _Target | None = None
    failure: str = ""
    failing: bool = False


@dataclass
class _Aimed:
    """A frame whose landmarks are on its target, ready to be generated."""

    camera: CameraFrame
    target: _Target
    landmarks: npt.NDArray[np.float32]
    outcome: Outcome
    landmark_s: float


class Pipeline:
    """All drivers of the process. One driver's failure is that driver's alone.

    Args:
        settings: of the process.
        pictures: where generated frames go.
    """

    def __init__(self, settings: InferenceSettings, pictures: FrameSlots) -> None:
        # Two calls share few cores: threads inside single small operations only get in each other's way.
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        from server.inference.process import load_generator

        generator: Any = load_generator(settings.generator)(settings.size)
        self.generator: Generator = generator
        self._size = settings.size
        self._pictures = pictures
        self._store = TargetStore(Path(settings.data_dir))
        self._mark = VisibleMark(settings.mark, settings.size)
        self._drivers: dict[int, _Driver] = {}
        self._spares: list[FaceDetector] = []

    def warm_up(self) -> None:
        """Load what loads late, so that the first driver's first frame is as fast as any."""
        self.prepare_spare()
        example = next(iter(self._store.built_ins()), None)
        if example is not None:
            self._spares[0].detect(self._store.load(example.id).images[0])
            target = self._encode(example.id)
            self.generator.generate([target.features], target.features.landmarks[None])

    def prepare_spare(self) -> None:
        """Keep one face detector ready: making one takes tens of milliseconds."""
        if not self._spares:
            self._spares.append(FaceDetector(static=False))

    def assign(self, order: Assign) -> None:
        """Put a driver, or another target, on a slot."""
        driver = self._drivers.get(order.slot)
        if driver is None:
            self.prepare_spare()
            driver = _Driver(order.epoch, order.target, self._spares.pop())
            self._drivers[order.slot] = driver
        elif order.fresh:
            driver.tracker = DriverTracker()
        driver.epoch, driver.target_id, driver.target, driver.failure = order.epoch, order.target, None, ""
        if order.target is not None:
            try:
                driver.target = self._encode(order.target)
            except Exception as error:
                driver.failure = f"The target could not be prepared ({type(error).__name__})."
                logger.exception("Target of slot %d could not be prepared", order.slot)

    def recalibrate(self, slot: int) -> None:
        """Take the slot's neutral pose anew."""
        if driver := self._drivers.get(slot):
            driver.tracker.recalibrate()

    def release(self, slot: int) -> None:
        """Free a slot; its detector serves the next driver."""
        if driver := self._drivers.pop(slot, None):
            if self._spares:
                driver.detector.close()
            else:
                self._spares.append(driver.detector)

    def process(self, frames: Sequence[CameraFrame], cameras: FrameSlots) -> list[Done]:
        """Bring camera frames through; one answer for each that still counts."""
        answers: list[Done] = []
        aimed: list[_Aimed] = []
        for camera in frames:
            driver = self._drivers.get(camera.slot)
            if driver is None or driver.epoch != camera.epoch:
                continue
            try:
                result = self._aim(driver, camera, cameras)
            except Exception as error:
                result = self._failed(driver, camera, error)
            if isinstance(result, Done):
                answers.append(result)
            elif result is not None:
                aimed.append(result)
        if aimed:
            answers += self._generate(aimed)
        return answers

    def _encode(self, target_id: str) -> _Target:
        prepared = self._store.load(target_id)
        features = self.generator.encode_target(prepared.images, prepared.landmarks)
        return _Target(features, RetargetTarget.of(features.landmarks))

    def _aim(self, driver: _Driver, camera: CameraFrame, cameras: FrameSlots) -> _Aimed | Done | None:
        """Landmarks of the frame, put on the driver's target."""
        if driver.failure:
            return Done(camera.slot, camera.epoch, "failed", None, camera.time, detail=driver.failure)
        if driver.target is None:
            return None
        began = time.perf_counter()
        picture = cv2.cvtColor(cameras.view(camera.slot, camera.frame), cv2.COLOR_YUV2RGB_I420)
        if not cameras.intact(camera.slot, camera.frame):
            return None  # a newer frame overwrote it, and is on its way
        faces = driver.detector.detect(picture)
        if not faces:
            return Done(camera.slot, camera.epoch, "no_face", None, camera.time)
        motion = driver.tracker.update(faces[0], camera.time)
        landmarks = retarget(motion, driver.target.retargeting)
        outcome: Outcome = "calibrating" if motion.calibrating else "live"
        return _Aimed(camera, driver.target, landmarks, outcome, time.perf_counter() - began)

    def _generate(self, aimed: Sequence[_Aimed]) -> list[Done]:
        began = time.perf_counter()
        try:
            pictures = self.generator.generate(
                [one.target.features for one in aimed], np.stack([one.landmarks for one in aimed])
            )
        except Exception as error:
            if len(aimed) == 1:
                camera = aimed[0].camera
                return [self._failed(self._drivers[camera.slot], camera, error)]
            return [done for one in aimed for done in self._generate([one])]  # one of them is at fault
        took = time.perf_counter() - began
        return [
            self._hand_over(one, picture, took, len(aimed))
            for one, picture in zip(aimed, pictures, strict=True)
        ]

    def _hand_over(self, one: _Aimed, picture: npt.NDArray[np.uint8], took: float, batch: int) -> Done:
        self._drivers[one.camera.slot].failing = False
        self._mark.apply(picture)
        frame, buffer = self._pictures.begin(one.camera.slot, self._size, self._size)
        buffer[:] = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        self._pictures.finish(one.camera.slot, frame)
        return Done(
            one.camera.slot, one.camera.epoch, one.outcome, frame, one.camera.time,
            one.landmark_s, took, batch,
        )  # fmt: skip

    def _failed(self, driver: _Driver, camera: CameraFrame, error: Exception) -> Done:
        """The next frame is tried again: what fails on one may work on the next."""
        if not driver.failing:  # say it once, not thirty times a second
            logger.error("Slot %d cannot be generated", camera.slot, exc_info=error)
        driver.failing = True
        detail = f"The picture could not be generated ({type(error).__name__})."
        return Done(camera.slot, camera.epoch, "failed", None, camera.time, detail=detail)


def mesh_warp(size: int) -> Generator:
    """The geometric generator."""
    from models.mesh_warp import MeshWarpGenerator

    return MeshWarpGenerator(size)
