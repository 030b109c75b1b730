"""A camera frame's way through the models: landmarks, retargeting, generation, mark."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.landmarks.detector import FaceDetector
from models.landmarks.driver import DriverMotion, DriverTracker
from models.landmarks.identity import few_shot
from models.landmarks.retarget import retarget
from models.templates.errors import TemplateError
from models.templates.library import Library, builtin_templates
from models.templates.template import Template
from models.templates.timeline import overlay, reaction
from server.generators import load_generator
from server.inference.memory import FrameReader, FrameWriter
from server.inference.messages import CameraNote, InferenceSettings, Outcome, PictureNote
from server.inference.preparation import Preparation, ReadyTarget
from server.inference.turns import Turns
from server.provenance import VisibleMark, Watermark
from server.targets.local import LocalTargets

logger = logging.getLogger(__name__)

#: After a failure the model is left alone this long (seconds): doubled at each further one, up to the last.
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 4.0


class _Failures:
    """What failed in a row: what to say meanwhile, and when to try again."""

    def __init__(self) -> None:
        self.detail = ""
        self._pause = 0.0
        self._again = 0.0

    def may_try(self) -> bool:
        return time.monotonic() >= self._again

    def forget(self) -> None:
        self.detail, self._pause, self._again = "", 0.0, 0.0

    def failed(self, detail: str, error: Exception) -> None:
        if not self.detail:  # say it once, not at each frame
            logger.error("%s", detail, exc_info=error)
        self.detail = detail
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._again = time.monotonic() + self._pause


@dataclass
class _Reaction:
    """A template that plays since the first frame that saw it, by the frames' own times."""

    template: Template
    began: float | None = None


@dataclass
class Driver:
    """One driver, as the pipeline knows it.

    Attributes:
        cameras, pictures: its mailboxes.
        detector: from its first frame on.
        epoch, target: of what is shown now.
        wanted: epoch and id of the target that is being prepared.
        reaction: that plays over what the driver does.
    """

    cameras: FrameReader
    pictures: FrameWriter
    detector: FaceDetector | None = None
    tracker: DriverTracker = field(default_factory=lambda: DriverTracker(few_shot=few_shot().driver))
    epoch: int = 0
    target_id: str | None = None
    target: ReadyTarget | None = None
    wanted: tuple[int, str] | None = None
    preparing: _Failures = field(default_factory=_Failures)
    generating: _Failures = field(default_factory=_Failures)
    reaction: _Reaction | None = None

    def reacting(self, motion: DriverMotion, time_s: float) -> DriverMotion:
        """The driver's motion with its reaction, if one plays, over it."""
        if self.reaction is None:
            return motion
        if self.reaction.began is None:
            self.reaction.began = time_s
        sample = reaction(self.reaction.template, time_s - self.reaction.began)
        if sample is None:
            self.reaction = None
            return motion
        return overlay(motion, sample)


@dataclass
class _Aimed:
    """A frame whose landmarks are on its target, ready to be generated."""

    driver: Driver
    target: ReadyTarget
    note: CameraNote
    landmarks: npt.NDArray[np.float32]
    outcome: Outcome
    landmark_s: float


class Pipeline:
    """All drivers of the process. One driver's failure is that driver's alone.

    Args:
        settings: of the process.

    Raises:
        ValueError: there is no such generator.
    """

    def __init__(self, settings: InferenceSettings) -> None:
        # Calls share few cores: threads inside single small operations only get in each other's way.
        cv2.setNumThreads(1)
        self.generator = load_generator(settings.generator, Path(settings.data_dir))(settings.size)
        torch = sys.modules.get("torch")
        if torch is not None:  # not every generator needs it, and it loads slowly
            torch.set_num_threads(1)
        self._settings = settings
        self._store = LocalTargets(settings.data_dir, settings.fetched_dir)
        self._library = Library(Path(settings.data_dir) / "templates")
        self._mark = VisibleMark(settings.mark, settings.size)
        self._watermark = Watermark(settings.size, settings.size) if settings.mark.watermark else None
        self._drivers: dict[int, Driver] = {}
        self._turns = Turns()
        self.preparation = Preparation(self._store.load, self.generator, self._warm_up())

    def _warm_up(self) -> npt.NDArray[np.uint8]:
        """Load what loads late, so that the first driver's first frame is as fast as any.

        Returns:
            A picture with a face, for detectors to be warmed up with.
        """
        builtin_templates()
        example = self._store.load(self._store.built_ins()[0].id)
        features = self.generator.encode_target(example.images, example.landmarks)
        self.generator.generate([features], features.landmarks[None])
        return example.images[0]

    @property
    def best_batch(self) -> int:
        """Frames that are generated together."""
        return min(self.generator.best_batch, self._settings.max_batch)

    @property
    def drivers(self) -> dict[int, Driver]:
        """All drivers by their number."""
        return self._drivers

    # ------------------------------------------------------------ orders

    def open(self, driver: int, cameras: FrameReader, pictures: FrameWriter) -> None:
        """Take a new driver."""
        self._drivers[driver] = Driver(cameras, pictures)

    def assign(self, number: int, epoch: int, target_id: str | None) -> None:
        """Put another target before a driver: at once if it is known, otherwise as soon as it is prepared."""
        driver = self._drivers.get(number)
        if driver is None:
            return
        driver.wanted = None
        driver.preparing.forget()
        driver.generating.forget()
        known = None if target_id is None else self._known(target_id)
        if target_id is None or known is not None:
            driver.epoch, driver.target_id, driver.target = epoch, target_id, known
        else:
            driver.wanted = (epoch, target_id)
            self.preparation.target(target_id)

    def take_prepared(self) -> None:
        """Go over to targets that have been prepared meanwhile."""
        for target_id, result in self.preparation.results():
            for driver in self._drivers.values():
                if driver.wanted is None or driver.wanted[1] != target_id:
                    continue
                driver.epoch = driver.wanted[0]
                if isinstance(result, ReadyTarget):
                    driver.target_id, driver.target, driver.wanted = target_id, result, None
                    driver.preparing.forget()
                else:  # the former target is not what the driver wants to be seen as any more
                    driver.target_id = driver.target = None
                    driver.preparing.failed(_sentence("The target could not be prepared", result), result)

    def recalibrate(self, number: int) -> None:
        """Take a driver's neutral pose anew."""
        if driver := self._drivers.get(number):
            driver.tracker.recalibrate()

    def react(self, number: int, template: str) -> None:
        """Play an expression template over what a driver's target does; a newer one takes its place."""
        if (driver := self._drivers.get(number)) is None:
            return
        try:
            known = self._library.known(template)
        except TemplateError as error:
            logger.info("No reaction: %s", error)
            return
        if known is not None:
            driver.reaction = _Reaction(known)

    def release(self, number: int) -> Driver | None:
        """Forget a driver; its mailboxes are closed by the caller."""
        self._turns.forget(number)
        driver = self._drivers.pop(number, None)
        if driver is not None and driver.detector is not None:
            self.preparation.discard(driver.detector)
        return driver

    # ------------------------------------------------------------ frames

    def process(self, numbers: Iterable[int]) -> set[int]:
        """Take the newest frames of some of these drivers through, as one batch.

        Who was served longest ago comes first. So where there is more to do than time, all drivers lose the
        same share of their frames, none waits for longer than all others take, and orders are heard between
        any two batches.

        Returns:
            Drivers whose frame has not been looked at; it is still there, or a newer one.
        """
        waiting = self._turns.order(number for number in numbers if number in self._drivers)
        batch: list[_Aimed] = []
        while waiting and len(batch) < self.best_batch:
            number = waiting.popleft()
            self._turns.served(number)
            if (aimed := self._aim(number)) is not None:
                batch.append(aimed)
        if batch:
            self._generate(batch)
        return set(waiting)

    def turns(self, numbers: Iterable[int], count: int) -> list[int]:
        """At most so many of these drivers, to be served by :meth:`serve`; those first whose turn it is."""
        chosen = list(self._turns.order(number for number in numbers if number in self._drivers))[:count]
        for number in chosen:
            self._turns.served(number)
        return chosen

    def serve(self, number: int) -> None:
        """Take a driver's newest frame through by itself.

        Several threads may do so at once, each for another driver; nothing else is asked of the pipeline
        meanwhile.
        """
        if (aimed := self._aim(number)) is not None:
            self._generate([aimed])

    def _known(self, target_id: str) -> ReadyTarget | None:
        """A target that some driver is shown behind already."""
        return next((d.target for d in self._drivers.values() if d.target_id == target_id), None)

    def _aim(self, number: int) -> _Aimed | None:
        """Landmarks of a driver's newest frame, put on its target; None if it is answered already."""
        driver = self._drivers[number]
        began = time.perf_counter()
        with driver.cameras.newest() as frame:
            if frame is None:
                return None
            note = CameraNote.unpack(frame[0])
            i420 = frame[1][: note.width * note.height * 3 // 2].reshape(-1, note.width)
            picture = cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420)
        if driver.wanted is not None and driver.preparing.detail and driver.preparing.may_try():
            self.preparation.target(driver.wanted[1])
        target = driver.target
        if target is None:
            if driver.preparing.detail:
                self._answer(driver, note, "failed", detail=driver.preparing.detail)
            return None
        if not driver.generating.may_try():
            self._answer(driver, note, "failed", detail=driver.generating.detail)
            return None
        if driver.detector is None:
            driver.detector = self.preparation.detector()
            if driver.detector is None:
                return None
        try:
            faces = driver.detector.detect(picture)
            if not faces:
                self._answer(driver, note, "no_face", landmark_s=time.perf_counter() - began)
                return None
            motion = driver.tracker.update(faces[0], note.time)
            landmarks = retarget(driver.reacting(motion, note.time), target.retargeting)
        except Exception as error:
            self._failed(driver, note, error)
            return None
        outcome: Outcome = "calibrating" if motion.calibrating else "live"
        return _Aimed(driver, target, note, landmarks, outcome, time.perf_counter() - began)

    def _generate(self, batch: Sequence[_Aimed]) -> None:
        began = time.perf_counter()
        try:
            pictures = self.generator.generate(
                [one.target.features for one in batch], np.stack([one.landmarks for one in batch])
            )
            if len(pictures) != len(batch):
                raise ValueError(f"{len(pictures)} pictures were generated, not {len(batch)}")
        except Exception as error:
            if len(batch) == 1:
                self._failed(batch[0].driver, batch[0].note, error)
            else:  # one of them is at fault
                for one in batch:
                    self._generate([one])
            return
        took = time.perf_counter() - began
        for one, picture in zip(batch, pictures, strict=True):
            try:
                self._hand_over(one, picture, took, len(batch))
            except Exception as error:
                self._failed(one.driver, one.note, error)

    def _hand_over(self, one: _Aimed, picture: npt.NDArray[np.uint8], took: float, batch: int) -> None:
        size = self._settings.size
        if picture.shape != (size, size, 3) or picture.dtype != np.uint8:
            raise ValueError(f"the generated picture is {picture.dtype} {picture.shape}")
        picture = np.ascontiguousarray(picture)
        self._mark.apply(picture)
        buffer = one.driver.pictures.begin().reshape(size * 3 // 2, size)
        i420 = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        if self._watermark is not None:
            self._watermark.apply(i420[:size])
        np.copyto(
            buffer, i420
        )  # not as OpenCV's destination: that one is silently not used if it does not fit
        one.driver.generating.forget()
        self._answer(
            one.driver, one.note, one.outcome, landmark_s=one.landmark_s, generate_s=took, batch=batch
        )

    def _failed(self, driver: Driver, note: CameraNote, error: Exception) -> None:
        """What fails on one frame may work on a later one."""
        driver.generating.failed(_sentence("The picture could not be generated", error), error)
        self._answer(driver, note, "failed", detail=driver.generating.detail)

    def _answer(
        self,
        driver: Driver,
        note: CameraNote,
        outcome: Outcome,
        *,
        landmark_s: float = 0.0,
        generate_s: float = 0.0,
        batch: int = 0,
        detail: str = "",
    ) -> None:
        driver.pictures.begin()
        driver.pictures.publish(
            PictureNote(
                driver.epoch, note.since, note.time, outcome, landmark_s, generate_s, batch, detail
            ).pack()
        )


def _sentence(what: str, error: Exception) -> str:
    """For people: the error's kind, not its text, which may name files."""
    return f"{what} ({type(error).__name__})."
