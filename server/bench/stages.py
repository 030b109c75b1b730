"""Times each step of a driver's frame, and generators by themselves, in this process: no call around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from models.generator import Generator, Landmarks, Picture, TargetFeatures
from models.landmarks.detector import FaceDetector
from models.landmarks.driver import DriverTracker
from models.landmarks.identity import few_shot
from models.landmarks.retarget import RetargetTarget, retarget
from models.mesh_warp import MeshWarpGenerator
from server.bench.clip import astronaut, performance
from server.errors import UserError
from server.provenance import MarkSettings, VisibleMark, Watermark

__all__ = ["Times", "as_json", "peak_gflops", "time_command", "time_frame", "time_generator"]

#: Frames before the clock runs: caches, lazy imports, the tracker's calibration.
_WARM_UP: Final = 40
_FILM_FPS: Final = 30


@dataclass(frozen=True)
class Times:
    """What one step of a frame takes, or one generator.

    Attributes:
        name: of the step (``whole`` is all of them), or of generator and runtime.
        p50_ms, p95_ms: wall-clock time a frame.
        cpu_ms: processor time of all threads, mean a frame.
        batch: frames made together.
    """

    name: str
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    batch: int = 1


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
    film = _film(image, landmarks)
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


def peak_gflops(seconds: float = 1.0) -> float:
    """What this machine does in a large convolution in torch, single precision, all threads: GFLOP/s."""
    import torch

    convolution = torch.nn.Conv2d(256, 256, 3, padding=1)
    picture = torch.rand(1, 256, 64, 64)
    operations = 2 * 256 * 256 * 9 * 64 * 64
    best, end = float("inf"), time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < end:
            began = time.perf_counter()
            convolution(picture)
            best = min(best, time.perf_counter() - began)
    return operations / best / 1e9


def as_json(machine: dict[str, Any], results: Sequence[Times]) -> str:
    """A result file, which ``--compare`` reads back."""
    return json.dumps({"machine": machine, "results": [asdict(result) for result in results]}, indent=1)


def _film(image: Picture, landmarks: Landmarks) -> list[npt.NDArray[np.uint8]]:
    """One period of the synthetic driver's performance, I420."""
    frames = performance(MeshWarpGenerator(512), image, landmarks, _FILM_FPS)
    return [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), np.uint8) for frame in frames]
