"""The media process's view of inference: camera frames in, and always a safe picture out.

``latest`` is the only way to a picture, and it can give three things alone: a frame that the inference
process generated for this driver and a target it chose, a still of the target with a notice, or a neutral
card. Camera frames go into memory of their own, which nothing here reads; pictures come from memory that
this process cannot write to.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import av

from models.concurrency import at_once
from server import metrics
from server.generators import dotted
from server.inference.camera import UnusableFrame, copy_frame
from server.inference.figures import PictureStats, dropped, measure, picture_stats
from server.inference.host import HANG_S, InferenceHost
from server.inference.messages import CameraNote, InferenceSettings, PictureNote, React, Recalibrate, Release
from server.inference.slot import GeneratedFrame, Slot
from server.inference.stills import NOTICES, Stills
from server.inference.view import Decision, DriverView, Generated, Patience
from server.provenance import MarkSettings
from server.targets.store import PreparedTarget
from signaling.protocol import DriverState

logger = logging.getLogger(__name__)

__all__ = ["MESH_WARP", "CapacityExceeded", "GeneratedFrame", "InferenceClient", "PictureStats"]

MESH_WARP: Final = dotted("mesh-warp")
_TICK_S: Final = 0.1


class CapacityExceeded(RuntimeError):
    """All slots are taken."""


class InferenceClient:
    """Drivers of this worker and their pictures. All methods belong on the event loop and are quick.

    Args:
        load: gives a prepared target by its id; called in a thread.
        at_hand: whether the inference process could load a target now; else it is told of it once ``load``
            has brought it here. Called on the event loop.
        fetched_dir: where ``load`` puts what it brings, for the inference process.
        data_dir: where uploaded targets lie, for the inference process.
        size: pixels a side of pictures.
        capacity: drivers at once.
        mark: on every picture of a face.
        generator: dotted name, see :class:`InferenceSettings`.
        fps: most frames a second that are generated for a driver.
        lanes: see :class:`InferenceSettings`; by default as many as suit this machine.
        late_s: a generated picture older than this is not shown any more.
        hang_s: a process silent for this long is replaced.
        standby: keep a second process loaded that takes over at once.
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
        lanes: int | None = None,
        late_s: float = 0.5,
        hang_s: float = HANG_S,
        standby: bool = True,
        at_hand: Callable[[str], bool] = lambda _: True,
        fetched_dir: Path | None = None,
        on_status: Callable[[str, DriverState, str], None] = lambda *_: None,
        on_picture: Callable[[str], None] = lambda _: None,
    ) -> None:
        mark = mark or MarkSettings()
        self._size = size
        self._capacity = capacity
        self._patience = Patience(late_s=late_s)
        self._least_interval = 0.75 / fps
        self._on_status = on_status
        self._on_picture = on_picture
        self._stills = Stills(load, size, mark)
        self._at_hand = at_hand
        self._settings = InferenceSettings(
            str(data_dir),
            generator,
            size,
            mark,
            lanes=at_once() if lanes is None else lanes,
            fetched_dir=None if fetched_dir is None else str(fetched_dir),
        )
        self._host = InferenceHost(
            self._settings, on_up=self._up, on_down=self._down, hang_s=hang_s, standby=standby
        )
        self._drivers: dict[str, Slot] = {}
        self._watching: asyncio.Task[None] | None = None
        # Numbers, epochs and switchings-on run on over all drivers: nothing is ever taken for another's.
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int | None:
        """Process id of the inference process."""
        return self._host.pid

    @property
    def standby_pid(self) -> int | None:
        """Process id of the one that stands by, once it is loaded."""
        return self._host.standby_pid

    @property
    def restarts(self) -> int:
        """How often another process had to take over."""
        return self._host.restarts

    async def start(self) -> None:
        """Start the inference process and wait until it serves.

        Raises:
            InferenceUnavailable: it does not serve within a minute, or ends before it does.
        """
        await self._host.start()
        self._watching = asyncio.create_task(self._watch(), name="driver states")

    async def close(self) -> None:
        """End it; every picture is a still from now on."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        for driver in self._drivers.values():
            driver.disconnect()
        await self._host.close()
        self._stills.close()

    # ------------------------------------------------------------ drivers

    def open(self, driver: str) -> None:
        """Take a slot for a driver; one that has a slot keeps it.

        Raises:
            CapacityExceeded: all are taken.
        """
        if driver in self._drivers:
            return
        if len(self._drivers) >= self._capacity:
            raise CapacityExceeded(f"all {self._capacity} places are taken")
        number, epoch, since = (next(self._numbers) for _ in range(3))
        view = DriverView(self._patience, time.monotonic(), epoch, since)
        held = self._drivers[driver] = Slot(driver, number, view, self._settings.picture_bytes)
        if self._host.ready:
            try:
                held.connect(self._host, self._receive)
            except OSError as error:
                held.disconnect()
                del self._drivers[driver]
                raise CapacityExceeded(f"another driver cannot be connected: {error.strerror}") from error

    def release(self, driver: str) -> None:
        """Give a driver's slot back; what was made for it is never shown again."""
        held = self._drivers.pop(driver, None)
        if held is None:
            return
        held.disconnect()
        self._host.command(Release(held.number))
        self._forget_stills()

    def set_target(self, driver: str, target_id: str | None) -> None:
        """Show the driver behind another target, as soon as it is prepared; behind none: at once."""
        held = self._drivers[driver]
        if held.view.target == target_id:
            return
        if target_id is not None:
            self._stills.prepare(target_id)
        held.view.change_target(target_id, next(self._numbers), time.monotonic())
        if target_id is None or self._stills.ready(target_id) or self._at_hand(target_id):
            held.assign(self._host)
        else:
            loop, epoch = asyncio.get_running_loop(), held.view.epoch

            def brought() -> None:
                with suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(self._brought, held, epoch)

            self._stills.when_drawn(target_id, brought)
        self._look(held)

    def _brought(self, held: Slot, epoch: int) -> None:
        """A target that was not at hand is here, or cannot be had, which the process then finds and says."""
        if self._drivers.get(held.driver) is held and held.view.epoch == epoch:
            held.assign(self._host)

    def set_camera(self, driver: str, on: bool) -> None:
        """Say whether the camera is on; while it is off, the still is shown whatever arrives."""
        held = self._drivers[driver]
        if held.view.camera_on != on:
            held.view.change_camera(on, next(self._numbers), time.monotonic())
            self._look(held)

    def recalibrate(self, driver: str) -> None:
        """Take the driver's neutral pose and expression anew."""
        if (held := self._drivers.get(driver)) is not None:
            self._host.command(Recalibrate(held.number))

    def react(self, driver: str, template: str) -> None:
        """Play an expression template over what the driver's target does, from its next frame on."""
        if (held := self._drivers.get(driver)) is not None:
            self._host.command(React(held.number, template))

    # ------------------------------------------------------------ frames

    def submit(self, driver: str, frame: av.VideoFrame, received: float) -> None:
        """Hand a camera frame over; a newer one replaces it. Copies its planes, nothing else.

        Args:
            driver: whose it is.
            frame: any size and format; yuv420p up to 1280x720 is cheapest. See
                :func:`~server.inference.camera.copy_frame`.
            received: when it was decoded, monotonic seconds.
        """
        held = self._drivers.get(driver)
        if held is None or not held.view.camera_on or held.view.target is None:
            dropped("not_wanted")
            return
        if held.last_submitted is not None and received - held.last_submitted < self._least_interval:
            dropped("over_fps")
            return
        held.last_submitted = received
        if held.cameras is None:
            dropped("not_serving")
            return
        try:
            width, height = copy_frame(frame, held.cameras.begin())
        except UnusableFrame:
            dropped("unusable")
            return
        except BufferError:
            dropped("process_busy")
            return
        if held.cameras.publish(CameraNote(held.view.since, received, width, height).pack()):
            dropped("overtaken")
            held.view.dropped += 1
        held.view.submitted(received)

    def latest(self, driver: str) -> GeneratedFrame:
        """The picture to show now. Never the camera's: see the module's first lines."""
        held = self._drivers.get(driver)
        if held is None:
            return GeneratedFrame(0, self._stills.get(None, "no_video"), "no_video", None, False)
        decision = self._decide(held)
        self._tell(held, decision.state)
        picture = held.view.picture
        if decision.source == "generated" and picture is not None:
            return GeneratedFrame(picture.sequence, picture.i420, decision.state, picture.time, True)
        still = self._stills.get(decision.target, decision.state)
        if decision.source == "fade" and picture is not None:
            return held.fading(decision.state, picture, still, decision.share)
        return held.still(decision.state, still)

    def stats(self, driver: str) -> PictureStats | None:
        """Figures of the last three seconds; None while no frame was generated in them."""
        held = self._drivers.get(driver)
        if held is None:
            return None
        return picture_stats(
            held.view.recent,
            time.monotonic(),
            generator=self._host.generator,
            size=self._size,
            dropped=held.view.dropped,
        )

    # ------------------------------------------------------------ what is shown

    def _decide(self, held: Slot) -> Decision:
        target = held.view.target
        return held.view.decide(
            time.monotonic(),
            serving=held.cameras is not None,
            missing=target is not None and self._stills.missing(target),
            still_ready=self._stills.ready(target),
        )

    def _look(self, held: Slot) -> None:
        """Tell of a change of state, and that there is another picture."""
        before = held.told
        self._tell(held, self._decide(held).state)
        if held.told != before:
            self._on_picture(held.driver)

    def _tell(self, held: Slot, state: DriverState) -> None:
        if held.told != state:
            held.told = state
            answer = held.view.answer
            detail = answer.detail if answer is not None and state == "failed" else ""
            self._on_status(held.driver, state, detail or NOTICES[state])

    async def _watch(self) -> None:
        """Notice what changes by time alone, while nobody looks."""
        while True:
            await asyncio.sleep(_TICK_S)
            for held in list(self._drivers.values()):
                if held.cameras is None and self._host.ready:
                    self._connect(held)
                self._look(held)
            self._forget_stills()
            self._stills.redraw(time.monotonic())

    def _forget_stills(self) -> None:
        wanted = {target for held in self._drivers.values() for target in held.view.targets}
        self._stills.keep_only(wanted)

    # ------------------------------------------------------------ the process

    def _up(self) -> None:
        for held in list(self._drivers.values()):
            if held.cameras is None:
                self._connect(held)

    def _connect(self, held: Slot) -> None:
        """Connect a driver to the process that serves; if that fails, :meth:`_watch` tries again."""
        held.view.process_back(time.monotonic())
        try:
            held.connect(self._host, self._receive)
        except OSError as error:
            held.disconnect()
            if not held.connect_failed:  # it is tried many times a second, and said once
                logger.error("A driver cannot be connected to the inference process: %s", error)
            held.connect_failed = True
        else:
            held.connect_failed = False

    def _down(self) -> None:
        metrics.INFERENCE_RESTARTS.inc()
        for held in list(self._drivers.values()):
            held.disconnect()
            held.view.process_gone(next(self._numbers), next(self._numbers))
            self._look(held)

    def _receive(self, held: Slot) -> None:
        """An answer is there."""
        if held.pictures is None:
            return
        with held.pictures.newest() as frame:
            if frame is None:
                if held.pictures.ended:
                    held.ignore()
                return
            note = PictureNote.unpack(frame[0])
            if not held.view.counts(note):
                dropped("former_epoch")
                return
            shape = (self._size * 3 // 2, self._size)
            i420 = frame[1].reshape(shape).copy() if note.generated else None
        generated = None
        if i420 is not None:
            i420.flags.writeable = False  # it is shown to several viewers
            state: DriverState = "calibrating" if note.outcome == "calibrating" else "live"
            generated = Generated(i420, note.time, state, held.next_sequence())
        now = time.monotonic()
        held.view.take(note, generated, now)
        measure(note, now)
        self._on_picture(held.driver)
