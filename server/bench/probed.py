"""A media worker whose inference process carries frame numbers from camera frames to generated pictures.

For ``understudy bench latency`` alone. The switch is this module itself: it is a program of its own that the
benchmark starts in the media worker's place. Nothing in the service imports it, and the service names the
module of its inference process in a constant, so no setting, variable or request leads here.

What crosses over from the camera's picture to the generated one is a number that is drawn anew, never a
pixel: it goes through an ``int``.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from server.bench.numbers import read_number, write_number
from server.inference.memory import FrameReader, FrameWriter
from server.inference.messages import CameraNote, InferenceSettings, PictureNote
from server.inference.pipeline import Driver, Pipeline, _Aimed

__all__ = ["Mode", "NumberedPipeline"]

Bytes = npt.NDArray[np.uint8]
#: ``generator``: everything as in calls. ``identity``: the target's still, no landmarks and no generation.
Mode = Literal["generator", "identity"]
_KEPT: Final = 64


class _NumberReader:
    """A driver's camera mailbox that reads the number on each frame in passing."""

    def __init__(self, cameras: FrameReader) -> None:
        self._cameras = cameras
        self.numbers: OrderedDict[float, int] = OrderedDict()  # by the frame's time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cameras, name)

    @contextmanager
    def newest(self) -> Iterator[tuple[bytes, Bytes] | None]:
        with self._cameras.newest() as frame:
            if frame is not None:
                note = CameraNote.unpack(frame[0])
                planes = frame[1][: note.width * note.height * 3 // 2].reshape(-1, note.width)
                if (number := read_number(planes)) is not None:
                    self.numbers[note.time] = number
                    while len(self.numbers) > _KEPT:
                        self.numbers.popitem(last=False)
            yield frame


class _NumberWriter:
    """A driver's picture mailbox that writes the number of the camera frame on each picture."""

    def __init__(self, pictures: FrameWriter, cameras: _NumberReader, size: int) -> None:
        self._pictures = pictures
        self._cameras = cameras
        self._size = size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pictures, name)

    def publish(self, note: bytes) -> bool:
        said = PictureNote.unpack(note)
        number = self._cameras.numbers.get(said.time)
        if said.generated and number is not None:
            write_number(self._pictures.begin().reshape(self._size * 3 // 2, self._size), number)
        return self._pictures.publish(note)


class NumberedPipeline(Pipeline):
    """The pipeline, with numbers carried over.

    Args:
        settings: of the process.
        mode: what is done with a frame.
    """

    def __init__(self, settings: InferenceSettings, mode: Mode) -> None:
        super().__init__(settings)
        self._mode = mode
        self._size = settings.size
        self._stills: dict[str, Bytes] = {}

    def open(self, driver: int, cameras: FrameReader, pictures: FrameWriter) -> None:
        """See :meth:`Pipeline.open`."""
        reader: Any = _NumberReader(cameras)
        writer: Any = _NumberWriter(pictures, reader, self._size)
        super().open(driver, reader, writer)

    def _aim(self, number: int) -> _Aimed | None:
        if self._mode == "generator":
            return super()._aim(number)
        driver = self.drivers[number]
        with driver.cameras.newest() as frame:
            note = None if frame is None else CameraNote.unpack(frame[0])
        target = driver.target
        if note is not None and target is not None:
            still = self._still(driver)
            shown = _Aimed(driver, target, note, target.features.landmarks, "live", 0.0)
            self._hand_over(shown, still.copy(), 0.0, 1)
        return None

    def _still(self, driver: Driver) -> Bytes:
        assert driver.target is not None
        assert driver.target_id is not None
        if driver.target_id not in self._stills:
            features = driver.target.features
            self._stills[driver.target_id] = self.generator.generate([features], features.landmarks[None])[0]
        return self._stills[driver.target_id]


def run_worker(mode: Mode, generator: str) -> int:
    """A media worker with the settings of its environment, whose inference processes are this module's."""
    from server.inference import host
    from server.serve import run_media_worker
    from server.settings_sources import load_settings

    host.PROCESS = ("-m", __spec__.name, "inference", mode, generator)
    return run_media_worker(load_settings().settings, child=True)


def run_signaling() -> int:
    """The signaling server as it is, but one that ends with the benchmark."""
    from server import serve
    from server.settings_sources import load_settings
    from server.supervision import die_with_parent

    die_with_parent()
    return serve.run_signaling(load_settings().settings)


def run_inference(mode: Mode, generator: str, settings: str, channel: str) -> None:
    """An inference process as the worker starts it, but with a numbered pipeline and this generator."""
    from server.inference import pipeline, process

    plain: Any = pipeline
    plain.Pipeline = lambda given: NumberedPipeline(given, mode)
    sys.argv = [sys.argv[0], json.dumps(json.loads(settings) | {"generator": generator}), channel]
    process.main()


def main() -> int:
    """Entry point: ``signaling``, ``worker MODE GENERATOR`` or ``inference MODE GENERATOR SETTINGS FD``."""
    if sys.argv[1:] == ["signaling"]:
        return run_signaling()
    role, mode, *rest = sys.argv[1:]
    if mode not in get_args(Mode):
        raise SystemExit(f"{mode}: no mode")
    if role == "worker":
        return run_worker(mode, *rest)  # type: ignore[arg-type]
    run_inference(mode, *rest)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
