"""A driver's slot in the media process: its view, its mailboxes, and what was shown of it last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from server.inference.camera import FRAME_BYTES
from server.inference.host import InferenceHost
from server.inference.memory import FrameReader, FrameWriter, close_all, make_mailbox
from server.inference.messages import Assign, Open
from server.inference.view import DriverView, Generated
from signaling.protocol import DriverState

Bytes = npt.NDArray[np.uint8]

_FADE_STEPS: Final = 6


@dataclass(frozen=True)
class GeneratedFrame:
    """A picture that is safe to show.

    Attributes:
        sequence: rises by one with each new picture of a driver; 0 for one that has no slot.
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


class Slot:
    """One driver's slot.

    Args:
        driver: its name.
        number: that no other driver has had.
        view: what may be shown of it.
        picture_bytes: size of a generated frame.
    """

    def __init__(self, driver: str, number: int, view: DriverView, picture_bytes: int) -> None:
        self.driver = driver
        self.number = number
        self.view = view
        self.cameras: FrameWriter | None = None
        self.pictures: FrameReader | None = None
        self.told: DriverState | None = None
        self.last_submitted: float | None = None
        self.connect_failed = False  # when it was tried last
        self._loop: asyncio.AbstractEventLoop | None = None
        self._picture_bytes = picture_bytes
        self._sequence = 0
        self._still: GeneratedFrame | None = None  # shown last, if no generated frame has come since
        self._fading: tuple[int, int] | None = None  # sequence of the generated frame, step

    # ------------------------------------------------------------ mailboxes

    def connect(self, host: InferenceHost, receive: Callable[[Slot], None]) -> None:
        """Make mailboxes to the serving process, and tell it of the driver and its target.

        Args:
            host: of a process that serves.
            receive: called on the event loop when there is an answer.

        Raises:
            OSError: too many files are open; it is not connected, and nothing is left open.
        """
        theirs: list[int] = []  # the process gets copies
        try:
            to_write, to_be_read = make_mailbox(FRAME_BYTES)
            theirs += to_be_read
            self.cameras = FrameWriter(to_write, FRAME_BYTES)
            to_be_written, to_read = make_mailbox(self._picture_bytes)
            theirs += to_be_written
            self.pictures = FrameReader(to_read, self._picture_bytes)
            self._loop = host.loop
            self._loop.add_reader(self.pictures.fileno(), receive, self)
            host.command(Open(self.number, FRAME_BYTES), theirs)
        except BaseException:
            self.disconnect()
            raise
        finally:
            close_all(theirs)
        self.assign(host)

    def disconnect(self) -> None:
        """Let go of the mailboxes, and of what is in them."""
        self.ignore()
        if self.pictures is not None:
            self.pictures.close()
        if self.cameras is not None:
            self.cameras.close()
        self.pictures = self.cameras = None

    def ignore(self) -> None:
        """Do not listen for answers any more."""
        if self.pictures is not None and self._loop is not None:
            self._loop.remove_reader(self.pictures.fileno())

    def assign(self, host: InferenceHost) -> None:
        """Tell the process of the driver's target."""
        if self.cameras is not None:
            host.command(Assign(self.number, self.view.epoch, self.view.target))

    # ------------------------------------------------------------ pictures

    def next_sequence(self) -> int:
        """A number for a new picture."""
        self._sequence += 1
        return self._sequence

    def still(self, state: DriverState, i420: Bytes) -> GeneratedFrame:
        """A still; the same as the last time if nothing has changed."""
        shown = self._still
        if (
            shown is None
            or shown.i420 is not i420
            or shown.state != state
            or shown.sequence != self._sequence
        ):
            shown = self._still = GeneratedFrame(self.next_sequence(), i420, state, None, False)
        return shown

    def fading(self, state: DriverState, picture: Generated, i420: Bytes, share: float) -> GeneratedFrame:
        """The generated picture giving way to the still; both show the target and carry the mark."""
        step = int(share * _FADE_STEPS)
        if self._fading != (picture.sequence, step) or self._still is None:
            self._fading = (picture.sequence, step)
            weight = (step + 1) / (_FADE_STEPS + 1)
            mixed = cv2.addWeighted(picture.i420, 1.0 - weight, i420, weight, 0.0)
            self._still = GeneratedFrame(self.next_sequence(), np.asarray(mixed), state, None, False)
        return self._still
