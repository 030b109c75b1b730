"""Pictures that carry their number through codec and inference, so that the far end can tell loss and age."""

from __future__ import annotations

import time

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

from server.media.colour import rgb_to_i420
from tests.integration.media.harness import Camera, FakeFrame, FakeInference

BITS = 12
GENERATED_SIZE = 256


def write_number(picture: NDArray[np.uint8], number: int) -> None:
    """Draw the number's bits as black and white blocks along the top of an RGB picture or a luma plane."""
    side = picture.shape[1] // 16
    for bit in range(BITS):
        picture[:side, bit * side : (bit + 1) * side] = 235 if number >> bit & 1 else 16


def read_number(luma: NDArray[np.uint8]) -> int:
    """The number that :func:`write_number` drew; luma ``[H, W]``."""
    side = luma.shape[1] // 16
    quarter = side // 4
    return sum(
        1 << bit
        for bit in range(BITS)
        if luma[quarter : side - quarter, bit * side + quarter : (bit + 1) * side - quarter].mean() > 125
    )


def luma_of(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The luma plane of a yuv420p frame, without copying more than needed."""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


class NumberedCamera(Camera):
    """A camera before a moving photo, in whose pictures their number stands.

    Attributes:
        taken: when each picture was taken, by its number (monotonic seconds).
    """

    def __init__(self, width: int = 640, height: int = 480) -> None:
        super().__init__(width=width, height=height, scene=self._scene)
        self.taken: dict[int, float] = {}
        self._photo = cv2.resize(astronaut(), (width, height))

    def _scene(self, number: int) -> NDArray[np.uint8]:
        picture = np.roll(self._photo, 3 * number, axis=1)
        number %= 1 << BITS
        write_number(picture, number)
        self.taken[number] = time.monotonic()
        return picture


class NumberedInference(FakeInference):
    """Answers each camera picture with a moving photo that carries the camera picture's number."""

    def __init__(self) -> None:
        super().__init__()
        photo = cv2.resize(astronaut(), (GENERATED_SIZE, GENERATED_SIZE))
        self._films = [rgb_to_i420(np.roll(photo, 4 * shift, axis=1)) for shift in range(32)]
        self.numbers: list[tuple[float, int]] = []

    def submit(self, driver: str, frame: av.VideoFrame, received: float) -> None:
        number = read_number(luma_of(frame))
        self.numbers.append((received, number))
        held = self.drivers[driver]
        held.submitted += 1
        held.sequence += 1
        i420 = self._films[number % len(self._films)].copy()
        write_number(i420[:GENERATED_SIZE], number)
        held.frame = FakeFrame(held.sequence, i420, "live", received, True)
        self.picture_ready(driver)
