"""The media process's view of inference: camera frames in, and always a safe picture out.

``latest`` is the only way to a picture, and it can give three things alone: a frame that the inference
process generated for this driver and this target, a still of the target with a notice, or a neutral card.
Camera frames go into another memory than pictures come from, which this side never reads.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from server import metrics
from server.inference.host import HANG_S, InferenceHost
from server.inference.messages import (
    Alive,
    Assign,
    CameraFrame,
    Done,
    InferenceSettings,
    Ready,
    Recalibrate,
    Release,
    Report,
)
from server.inference.stills import NOTICES, Stills
from server.provenance import MarkSettings
from server.targets.store import PreparedTarget
from signaling.protocol import DriverState

Bytes = npt.NDArray[np.uint8]

MAX_CAMERA = (1280, 720)
#: A lost face's last picture stays this long before the still takes its place, seconds.
_HOLD_S = 0.3
MESH_WARP = "server.inference.pipeline:mesh_warp"


class CapacityExceeded(RuntimeError):
    """All slots are taken."""


@dataclass(frozen=True)
class GeneratedFrame:
    """A picture that is safe to show.

    Attributes:
        sequence: differs from the last one's exactly when the picture does.
        i420: ``[size * 3 // 2, size]``.
        state: what it shows.
        driver_time: when its camera frame was decoded (monotonic seconds); None for a still.
        generated: whether it follows a camera frame.
    """

    sequence: int
    i420: Bytes
    state: DriverState
    driver_time: float | None
    generated: bool


@dataclass(frozen=True)
class PictureStats:
    """Figures of one driver over the last seconds; times in milliseconds, medians."""

    generator: str
    fps: float
    frame_ms: float
    age_ms: float
    size: int


@dataclass
class _Driver:
    name: str
    slot: int
    epoch: int
    opened: float
    target: str | None = None
    camera_on: bool = True
    submitted: float | None = None  # when the last camera frame was handed over
    outcome: Done | None = None  # the last answer of this epoch
    picture: GeneratedFrame | None = None
    shown: GeneratedFrame | None = None
    state: DriverState | None = None
    done: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=90))


class InferenceClient:
    """Drivers of this worker and their pictures. All methods belong on the event loop and are quick.

    Args:
        load: gives a prepared target by its id; called in a thread.
        data_dir: where uploaded targets lie, for the inference process.
        size: pixels a side of pictures.
        capacity: drivers at once.
        mark: on every picture of a face.
        generator: dotted name, see :class:`InferenceSettings`.
        fps: most frames a second that are generated for a driver.
        late_s: a generated picture older than this is not shown any more.
        hang_s: a process silent for this long is started again.
        on_status: told of each change of a driver's state, with a sentence.
        on_picture: told that a driver has a new picture.
    """

    def __init__(
        self,
        load: Callable[[str], PreparedTarget],
        data_dir: Path,
        *,
        size: int = 256,
        capacity: int = 4,
        mark: MarkSettings | None = None,
        generator: str = MESH_WARP,
        fps: int = 30,
        late_s: float = 0.5,
        hang_s: float = HANG_S,
        on_status: Callable[[str, DriverState, str], None] = lambda *_: None,
        on_picture: Callable[[str], None] = lambda _: None,
    ) -> None:
        mark = mark or MarkSettings()
        self._size = size
        self._late_s = late_s
        self._least_interval = 0.75 / fps
        self._on_status = on_status
        self._on_picture = on_picture
        self._stills = Stills(load, size, mark)
        width, height = MAX_CAMERA
        settings = InferenceSettings(str(data_dir), generator, size, capacity, width * height * 3 // 2, mark)
        self._host = InferenceHost(
            settings, on_report=self._report, on_up=self._up, on_down=self._down, hang_s=hang_s
        )
        self._drivers: dict[str, _Driver] = {}
        self._by_slot: dict[int, _Driver] = {}
        self._free = list(range(capacity))[::-1]
        # Both counters run on over all drivers: nothing of a former driver of a slot can be taken for new.
        self._epochs = itertools.count(1)
        self._sequences = itertools.count(1)

    @property
    def pid(self) -> int | None:
        """Process id of the inference process."""
        return self._host.pid

    @property
    def restarts(self) -> int:
        """How often it had to be started again."""
        return self._host.restarts

    async def start(self) -> None:
        """Start the inference process and wait until it serves.

        Raises:
            TimeoutError: it does not serve within a minute.
        """
        await self._host.start()

    async def close(self) -> None:
        """End it."""
        await self._host.close()
        self._stills.close()

    def open(self, driver: str) -> None:
        """Take a slot for a driver; one that has a slot keeps it.

        Raises:
            CapacityExceeded: all are taken.
        """
        if driver in self._drivers:
            return
        if not self._free:
            raise CapacityExceeded(f"all {len(self._by_slot)} places are taken")
        held = _Driver(driver, self._free.pop(), next(self._epochs), time.monotonic())
        self._drivers[driver] = self._by_slot[held.slot] = held
        self._assign(held, fresh=True)

    def release(self, driver: str) -> None:
        """Give a driver's slot back; what is in it is never shown again."""
        held = self._drivers.pop(driver, None)
        if held is None:
            return
        del self._by_slot[held.slot]
        self._free.append(held.slot)
        self._host.command(Release(held.slot))
        self._forget_still(held.target)

    def set_target(self, driver: str, target_id: str | None) -> None:
        """Show the driver behind another target from now on."""
        held = self._drivers[driver]
        if held.target == target_id:
            return
        before, held.target = held.target, target_id
        if target_id is not None:
            self._stills.prepare(target_id)
        self._forget_still(before)
        self._begin_epoch(held)
        self._assign(held, fresh=False)

    def set_camera(self, driver: str, on: bool) -> None:
        """Say whether the camera is on; while it is off, the still is shown whatever arrives."""
        held = self._drivers[driver]
        if held.camera_on != on:
            held.camera_on = on
            self._begin_epoch(held)
            self._assign(held, fresh=False)

    def recalibrate(self, driver: str) -> None:
        """Take the driver's neutral pose and expression anew."""
        if (held := self._drivers.get(driver)) is not None:
            self._host.command(Recalibrate(held.slot))

    def submit(self, driver: str, frame: av.VideoFrame, received: float) -> None:
        """Hand a camera frame over; a newer one replaces it. Copies three planes, nothing else.

        Args:
            driver: whose it is.
            frame: yuv420p with even sides, at most 1280x720 (or 720x1280).
            received: when it was decoded, monotonic seconds.
        """
        held = self._drivers.get(driver)
        if held is None or not held.camera_on or held.target is None or not self._host.ready:
            metrics.FRAMES_DROPPED.labels("inference", "not_wanted").inc()
            if held is not None:
                held.submitted = received
            return
        if held.submitted is not None and received - held.submitted < self._least_interval:
            metrics.FRAMES_DROPPED.labels("inference", "over_fps").inc()
            return
        width, height = frame.width, frame.height
        if frame.format.name != "yuv420p" or width % 2 or height % 2:
            raise ValueError(f"a camera frame must be yuv420p with even sides, not {frame.format.name}")
        reference, pixels = self._host.cameras.begin(held.slot, width, height)
        _copy_planes(frame, pixels)
        self._host.cameras.finish(held.slot, reference)
        held.submitted = received
        if not self._host.send(CameraFrame(held.slot, held.epoch, reference, received)):
            metrics.FRAMES_DROPPED.labels("inference", "process_busy").inc()

    def latest(self, driver: str) -> GeneratedFrame:
        """The picture to show now. Never the camera's: see the module's first lines."""
        held = self._drivers.get(driver)
        if held is None:
            return self._still(None, "no_video", None)
        state = self._state(held, time.monotonic())
        self._tell(held, state)
        if state in ("live", "calibrating") and held.picture is not None:
            held.shown = held.picture
            return held.picture
        return self._still(held.target, state, held)

    def stats(self, driver: str) -> PictureStats | None:
        """Figures of the last three seconds; None before the first generated frame."""
        held = self._drivers.get(driver)
        now = time.monotonic()
        recent = [] if held is None else [(at, took) for at, took in held.done if now - at < 3.0]
        if not recent:
            return None
        span = max(now - recent[0][0], 1.0)
        took = sorted(took for _, took in recent)
        age = took[len(took) // 2] * 1000
        return PictureStats(self._host.generator, len(recent) / span, age, age, self._size)

    # ------------------------------------------------------------ what to show

    def _state(self, held: _Driver, now: float) -> DriverState:
        """What the driver's picture shows, judged by what is known for certain now."""
        if held.target is None:
            return "no_target"
        if not held.camera_on:
            return "camera_off"
        if not self._host.ready:
            return "restarting"
        if self._stills.missing(held.target):
            return "failed"
        outcome, picture = held.outcome, held.picture
        trouble = outcome.outcome if outcome is not None and outcome.frame is None else None
        if trouble == "failed":
            return "failed"
        if picture is not None and picture.driver_time is not None:
            # a face that is missed in a few frames only is no reason to flicker
            keep_s = _HOLD_S if trouble == "no_face" else self._late_s
            if now - picture.driver_time < keep_s:
                return picture.state
        if held.submitted is None or now - held.submitted > 1.0:
            return "no_video"
        if trouble == "no_face":
            return "no_face"
        return "late" if picture is not None else "calibrating"

    def _still(self, target: str | None, state: DriverState, held: _Driver | None) -> GeneratedFrame:
        i420 = self._stills.get(target, state)
        if held is not None and held.shown is not None and held.shown.i420 is i420:
            return held.shown
        still = GeneratedFrame(next(self._sequences), i420, state, None, False)
        if held is not None:
            held.shown = still
        return still

    def _tell(self, held: _Driver, state: DriverState) -> None:
        if held.state != state:
            held.state = state
            detail = held.outcome.detail if held.outcome is not None and state == "failed" else ""
            self._on_status(held.name, state, detail or NOTICES[state])

    # ------------------------------------------------------------ the process

    def _begin_epoch(self, held: _Driver) -> None:
        """Nothing that was made before counts from now on."""
        held.epoch = next(self._epochs)
        held.outcome = held.picture = None
        self._on_picture(held.name)

    def _assign(self, held: _Driver, *, fresh: bool) -> None:
        self._host.command(Assign(held.slot, held.epoch, held.target, fresh))

    def _up(self) -> None:
        for held in self._drivers.values():
            self._begin_epoch(held)
            self._assign(held, fresh=True)

    def _down(self) -> None:
        metrics.INFERENCE_RESTARTS.inc()
        for held in self._drivers.values():
            self._begin_epoch(held)

    def _report(self, report: Report) -> None:
        if isinstance(report, Ready | Alive):
            return
        held = self._by_slot.get(report.slot)
        if held is None or held.epoch != report.epoch:
            metrics.FRAMES_DROPPED.labels("inference", "former_epoch").inc()
            return
        held.outcome = report
        now = time.monotonic()
        if report.frame is not None:
            i420 = self._host.pictures.copy(held.slot, report.frame)
            if i420 is None:
                metrics.FRAMES_DROPPED.labels("inference", "overwritten").inc()
                return
            state: DriverState = "calibrating" if report.outcome == "calibrating" else "live"
            held.picture = GeneratedFrame(next(self._sequences), i420, state, report.time, True)
            held.done.append((now, now - report.time))
            metrics.FRAMES.labels("generated").inc()
            metrics.FRAME_SECONDS.observe(now - report.time)
            metrics.LANDMARK_SECONDS.observe(report.landmark_s)
            metrics.GENERATE_SECONDS.observe(report.generate_s)
            metrics.BATCH_SIZE.observe(report.batch)
        else:
            metrics.FRAMES_DROPPED.labels("inference", report.outcome).inc()
        self._on_picture(held.name)

    def _forget_still(self, target: str | None) -> None:
        if target is not None and all(held.target != target for held in self._drivers.values()):
            self._stills.forget(target)


def _copy_planes(frame: av.VideoFrame, pixels: Bytes) -> None:
    """Copy a yuv420p frame into an I420 array ``[height * 3 // 2, width]``."""
    width, height = frame.width, frame.height
    flat = pixels.reshape(-1)
    start = 0
    for number, plane in enumerate(frame.planes):
        rows, columns = (height, width) if number == 0 else (height // 2, width // 2)
        source = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:rows, :columns]
        flat[start : start + rows * columns].reshape(rows, columns)[:] = source
        start += rows * columns
