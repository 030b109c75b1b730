"""The inference process: takes the newest camera frame of every driver, gives generated frames back.

Started by :class:`server.inference.client.InferenceClient`; reads its settings and file descriptors from
its command line, talks on one socket, and ends with its parent.
"""

from __future__ import annotations

import importlib
import json
import logging
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from server.inference.memory import FrameSlots
from server.inference.messages import (
    Alive,
    Assign,
    CameraFrame,
    Channel,
    Done,
    InferenceSettings,
    Ready,
    Recalibrate,
    Release,
)
from server.provenance import MarkSettings

logger = logging.getLogger(__name__)

#: A frame waits this long for frames of other drivers, if there are other drivers.
_COMPANY_S = 0.002
#: A driver counts as company if it sent a frame this recently.
_ACTIVE_S = 0.2
_HEARTBEAT_S = 0.5


class InferenceProcess:
    """The process's loop.

    Args:
        settings: of the process.
        channel: to the media process.
        cameras, pictures: frames in and out; two separate memories.
    """

    def __init__(
        self, settings: InferenceSettings, channel: Channel, cameras: FrameSlots, pictures: FrameSlots
    ) -> None:
        from server.inference.pipeline import Pipeline

        self._channel = channel
        self._cameras = cameras
        self._pipeline = Pipeline(settings, pictures)
        self._waiting: dict[int, CameraFrame] = {}
        self._heard: dict[int, float] = {}
        self._spoke = 0.0

    def run(self) -> None:
        """Serve until the media process is gone."""
        self._pipeline.warm_up()
        self._say(Ready(self._pipeline.generator.name))
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while True:
            poll.poll(_HEARTBEAT_S * 1000)
            try:
                self._take_messages()
                if self._waiting and self._company_is_due():
                    poll.poll(_COMPANY_S * 1000)
                    self._take_messages()
            except EOFError:
                return
            frames = list(self._waiting.values())
            self._waiting.clear()
            for done in self._pipeline.process(frames, self._cameras):
                self._say(done)
            if time.monotonic() - self._spoke > _HEARTBEAT_S:
                self._say(Alive())
            if not frames:
                self._pipeline.prepare_spare()

    def _say(self, message: Ready | Alive | Done) -> None:
        if self._channel.send(message):
            self._spoke = time.monotonic()

    def _company_is_due(self) -> bool:
        now = time.monotonic()
        return any(
            slot not in self._waiting and now - heard < _ACTIVE_S for slot, heard in self._heard.items()
        )

    def _take_messages(self) -> None:
        """Take all messages; of each driver's frames only the newest is kept."""
        while (message := self._channel.receive()) is not None:
            match message:
                case CameraFrame():
                    self._waiting[message.slot] = message
                    self._heard[message.slot] = time.monotonic()
                case Assign():
                    self._waiting.pop(message.slot, None)
                    self._pipeline.assign(message)
                case Recalibrate():
                    self._pipeline.recalibrate(message.slot)
                case Release():
                    self._waiting.pop(message.slot, None)
                    self._heard.pop(message.slot, None)
                    self._pipeline.release(message.slot)


def load_generator(name: str) -> Callable[[int], Any]:
    """The function behind a dotted name ``module:function``.

    Raises:
        ValueError: there is none.
    """
    module, _, function = name.partition(":")
    try:
        found: Callable[[int], Any] = getattr(importlib.import_module(module), function)
        return found
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name!r} is no generator: {error}") from None


def main() -> None:
    """Entry point: ``python -m server.inference.process SETTINGS SOCKET CAMERAS PICTURES``."""
    from server.supervision import die_with_parent

    die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s inference: %(message)s")
    values = json.loads(sys.argv[1])
    settings = InferenceSettings(**(values | {"mark": MarkSettings(**values["mark"])}))
    end, cameras, pictures = (int(argument) for argument in sys.argv[2:5])
    InferenceProcess(
        settings,
        Channel(socket.socket(fileno=end)),
        FrameSlots(cameras, settings.slots, settings.camera_bytes),
        FrameSlots(pictures, settings.slots, settings.picture_bytes),
    ).run()


def command_line(settings_json: str, descriptors: tuple[int, int, int]) -> list[str]:
    """How the process is started."""
    return [sys.executable, "-m", "server.inference.process", settings_json, *map(str, descriptors)]


if __name__ == "__main__":
    main()
