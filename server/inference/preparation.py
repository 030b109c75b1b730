"""What takes long in the inference process and is done beside its loop: targets and face detectors."""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models.generator import Generator, TargetFeatures
from models.landmarks.detector import FaceDetector
from models.landmarks.identity import few_shot
from models.landmarks.retarget import RetargetTarget
from server.targets.store import PreparedTarget

logger = logging.getLogger(__name__)

#: Detectors kept ready for drivers to come: making and warming one takes a tenth of a second.
SPARE_DETECTORS: Final = 1
_LONGEST_S: Final = 30.0


@dataclass(frozen=True)
class ReadyTarget:
    """A target as the pipeline uses it.

    Attributes:
        features: of the generator.
        retargeting: its landmarks, taken apart.
    """

    features: TargetFeatures
    retargeting: RetargetTarget


class Preparation:
    """A thread that prepares targets and detectors while the process's loop goes on with frames.

    Args:
        load: gives a target by its id.
        generator: encodes it.
        face: a picture with a face, RGB, that detectors are warmed up with.
    """

    def __init__(
        self, load: Callable[[str], PreparedTarget], generator: Generator, face: npt.NDArray[np.uint8]
    ) -> None:
        self._face = face
        self._load = load
        self._generator = generator
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[str, ReadyTarget | Exception]] = queue.SimpleQueue()
        self._spares: queue.SimpleQueue[FaceDetector] = queue.SimpleQueue()
        self._bell, self._ring = socket.socketpair()
        for end in (self._bell, self._ring):
            end.setblocking(False)
        self._lock = threading.Lock()  # frames of several drivers may ask at once
        self._running: set[str] = set()
        self._began: float | None = None
        self._replenishing = False
        for _ in range(SPARE_DETECTORS):
            self._spares.put(self._warm_detector())
        threading.Thread(target=self._run, name="preparation", daemon=True).start()

    def fileno(self) -> int:
        """Readable when there are results."""
        return self._bell.fileno()

    def target(self, target_id: str) -> None:
        """Prepare a target; it comes with :meth:`results`."""
        with self._lock:
            if target_id in self._running:
                return
            self._running.add(target_id)
        self._work.put(lambda: self._prepare(target_id))

    def results(self) -> list[tuple[str, ReadyTarget | Exception]]:
        """Targets that are prepared since the last call, or why they are not."""
        with suppress(BlockingIOError):
            self._bell.recv(4096)
        done = []
        with suppress(queue.Empty):
            while True:
                done.append(self._results.get_nowait())
                self._running.discard(done[-1][0])
        return done

    def detector(self) -> FaceDetector | None:
        """A detector for a driver; None while there is none yet: ask again at its next frame."""
        try:
            detector = self._spares.get_nowait()
        except queue.Empty:
            detector = None
        with self._lock:
            due, self._replenishing = not self._replenishing, True
        if due:
            self._work.put(self._replenish)
        return detector

    def discard(self, detector: FaceDetector) -> None:
        """Give back what a detector holds. It knows a driver's face: it serves no other."""
        self._work.put(detector.close)

    def check(self) -> None:
        """See that the thread gets on.

        Raises:
            TimeoutError: what it is at takes too long; only a new process helps.
        """
        if (began := self._began) is not None and time.monotonic() - began > _LONGEST_S:
            raise TimeoutError(f"preparing a target or a detector takes more than {_LONGEST_S:g} s")

    def _run(self) -> None:
        while True:
            work = self._work.get()
            self._began = time.monotonic()
            try:
                work()
            except Exception:
                logger.exception("Preparing went wrong")
            self._began = None

    def _prepare(self, target_id: str) -> None:
        result: ReadyTarget | Exception
        try:
            prepared = self._load(target_id)
            features = self._generator.encode_target(prepared.images, prepared.landmarks)
            # without the expressions of its photos, and averaged over them: a driver at rest shows it at rest
            neutral = few_shot().target(prepared.images, prepared.landmarks)
            result = ReadyTarget(features, RetargetTarget.of(features.landmarks, neutral))
        except Exception as error:
            result = error
        self._results.put((target_id, result))
        with suppress(BlockingIOError):  # full of rings: it will be heard
            self._ring.send(b"!")

    def _replenish(self) -> None:
        self._replenishing = False
        while self._spares.qsize() < SPARE_DETECTORS:
            self._spares.put(self._warm_detector())

    def _warm_detector(self) -> FaceDetector:
        """A detector that has been through all it does, and follows nobody."""
        detector = FaceDetector(static=False)
        detector.detect(self._face)
        detector.detect(np.zeros_like(self._face))
        return detector
