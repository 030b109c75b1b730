"""Times each step of a driver's frame, and generators by themselves, in this process: no call around them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from models.generator import Generator, Landmarks, TargetFeatures
from models.landmarks.crop import face_size
from models.landmarks.detector import FaceDetector
from models.landmarks.driver import DriverTracker
from models.landmarks.geometry import normalise
from models.landmarks.identity import few_shot
from models.landmarks.retarget import RetargetTarget, retarget
from models.landmarks.smoothing import OneEuroFilter
from models.mesh_warp import MeshWarpGenerator
from server.bench.clip import astronaut, performance
from server.bench.results import Times
from server.errors import UserError
from server.provenance import MarkSettings, VisibleMark, Watermark

__all__ = ["driver_film", "time_command", "time_frame", "time_generator", "time_landmarks"]

#: Frames before the clock runs: caches, lazy imports, the tracker's calibration.
_WARM_UP: Final = 40
_FILM_FPS: Final = 30


@dataclass
class _Clock:
    """Wall-clock and processor time of named steps."""

    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.cpu[name] = self.cpu.get(name, 0.0) + time.process_time() - cpu
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)

    def times(self) -> list[Times]:
        times = []
        for name, walls in self.wall.items():
            p50, p95 = (1e3 * np.percentile(walls, (50, 95))).tolist()
            times.append(Times(name, p50, p95, 1e3 * self.cpu[name] / len(walls)))
        return times


def time_frame(
    generator: Generator, *, frames: int = 200, progress: Callable[[float], None] = lambda share: None
) -> list[Times]:
    """The way of a driver's frame through the inference process, step by step, one frame at a time.

    The driver is a synthetic one (640x480) that talks, blinks and turns; the target is the same face.

    Args:
        generator: makes the pictures; 256 or 512 pixels.
        frames: that are measured.
        progress: told the share that is done.
    """
    image, landmarks = astronaut()
    film = driver_film()
    target = generator.encode_target(image[None], landmarks[None])
    retargeting = RetargetTarget.of(landmarks)
    tracker = DriverTracker(few_shot=few_shot().driver)
    mark = VisibleMark(MarkSettings(), generator.size)
    watermark = Watermark(generator.size, generator.size)
    cv2.setNumThreads(1)  # as in the inference process
    clock = _Clock()
    with FaceDetector(static=False) as detector:
        for index in range(_WARM_UP + frames):
            if index == _WARM_UP:
                clock = _Clock()
            i420 = film[index % len(film)]
            with clock.step("whole"):
                with clock.step("I420 to RGB"):
                    picture = cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420)
                with clock.step("landmarks"):
                    faces = detector.detect(np.asarray(picture, np.uint8))
                if not faces:
                    continue
                with clock.step("smoothing, pose, identity"):
                    motion = tracker.update(faces[0], index / _FILM_FPS)
                with clock.step("retargeting"):
                    shown = retarget(motion, retargeting)
                with clock.step("generator"):
                    made = generator.generate([target], shown[None])[0]
                with clock.step("visible mark"):
                    mark.apply(made)
                with clock.step("RGB to I420"):
                    planes = cv2.cvtColor(made, cv2.COLOR_RGB2YUV_I420)
                with clock.step("watermark"):
                    watermark.apply(np.asarray(planes[: generator.size], np.uint8))
            progress((index + 1) / (_WARM_UP + frames))
    times = clock.times()
    return [step for step in times if step.name != "whole"] + [step for step in times if step.name == "whole"]


def time_landmarks(
    *, frames: int = 200, progress: Callable[[float], None] = lambda share: None
) -> list[Times]:
    """From camera picture to a target's landmarks, step by step, without a generator.

    The detector is measured as it follows a face from frame to frame, as in calls, and as it looks for one
    anew in each, as on photos. The tracker does the three steps before it and more: its line is all it takes.

    Args:
        frames: that are measured.
        progress: told the share that is done.
    """
    _, landmarks = astronaut()
    film = [np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8) for planes in driver_film()]
    cv2.setNumThreads(1)
    target = RetargetTarget.of(landmarks)
    estimate = few_shot()
    tracker, smooth = DriverTracker(few_shot=estimate.driver), OneEuroFilter()
    clock = _Clock()
    with FaceDetector(static=False) as detector, FaceDetector(static=True) as still:
        for index in range(_WARM_UP + frames):
            if index == _WARM_UP:
                clock = _Clock()
            picture = film[index % len(film)]
            with clock.step("detector, following"):
                faces = detector.detect(picture)
            with clock.step("detector, anew"):
                still.detect(picture)
            if not faces:
                continue
            points = np.asarray(faces[0], np.float64)
            with clock.step("smoothing (One-Euro)"):
                points = smooth(points, index / _FILM_FPS, scale=face_size(points))
            with clock.step("pose (Procrustes)"):
                normalised, _ = normalise(points)
            with clock.step("identity of one frame"):
                estimate.driver(normalised)
            with clock.step("tracker, whole"):
                motion = tracker.update(faces[0], index / _FILM_FPS)
            with clock.step("retargeting"):
                retarget(motion, target)
            progress((index + 1) / (_WARM_UP + frames))
    return clock.times()


def time_generator(generator: Generator, batches: Sequence[int], *, rounds: int = 30) -> list[Times]:
    """Generation alone, of B frames of B targets, for each batch size.

    Args:
        batches: numbers of frames that are generated together.
        rounds: repetitions of each.
    """
    image, landmarks = astronaut()
    cv2.setNumThreads(1)
    target = generator.encode_target(image[None], landmarks[None])
    return [_batch_times(generator, target, landmarks, batch, rounds) for batch in batches]


def _batch_times(
    generator: Generator,
    target: TargetFeatures,
    landmarks: Landmarks,
    batch: int,
    rounds: int,
) -> Times:
    shifts = np.linspace(-12, 12, batch, dtype=np.float32)[:, None, None] * np.array([1, 0.5, 0], np.float32)
    shown = landmarks[None] + shifts
    targets = [target] * batch
    for _ in range(3):
        generator.generate(targets, shown)
    walls, cpu = [], time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        generator.generate(targets, shown)
        walls.append(1e3 * (time.perf_counter() - began) / batch)
    cpu_ms = 1e3 * (time.process_time() - cpu) / (rounds * batch)
    p50, p95 = np.percentile(walls, (50, 95)).tolist()
    return Times(generator.name, p50, p95, cpu_ms, batch)


def time_command(name: str, arguments: Sequence[str], rounds: Iterable[object]) -> Times:
    """The ``understudy`` command in a process of its own, with ``-o`` a file that is thrown away.

    Raises:
        UserError: the command failed.
    """
    walls = []
    before = os.times()
    with tempfile.TemporaryDirectory() as folder:
        for _ in rounds:
            began = time.perf_counter()
            command = [sys.executable, "-m", "server.cli", *arguments, "-o", f"{folder}/clip.mp4"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise UserError(f"understudy {arguments[0]} failed: {done.stderr.strip()[-500:]}")
            walls.append(1e3 * (time.perf_counter() - began))
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    p50, p95 = np.percentile(walls, (50, 95)).tolist()
    return Times(name, p50, p95, 1e3 * cpu / len(walls))


@lru_cache(maxsize=1)
def driver_film() -> list[npt.NDArray[np.uint8]]:
    """One period of the synthetic driver's performance, I420 [720, 640] each; made once."""
    image, landmarks = astronaut()
    frames = performance(MeshWarpGenerator(512), image, landmarks, _FILM_FPS)
    return [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), np.uint8) for frame in frames]
