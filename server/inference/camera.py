"""Camera frames on their way into shared memory: which sizes and formats are taken, and the copying."""

from __future__ import annotations

from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

#: Pixels of the largest frame that is handed over as it is (1280x720, upright or on its side).
MAX_PIXELS: Final = 1280 * 720
#: Bytes that hold any frame that is handed over (I420).
FRAME_BYTES: Final = MAX_PIXELS * 3 // 2
_LEAST_SIDE: Final = 16
_PLANAR: Final = ("yuv420p", "yuvj420p")


class UnusableFrame(ValueError):
    """A frame that no face can be found in, and that is not handed over."""


def fitting_size(width: int, height: int) -> tuple[int, int]:
    """The size a frame is handed over in: even sides, at most :data:`MAX_PIXELS`, the same proportions.

    An odd last row or column is left away, since chroma has half the resolution. Larger frames are made
    smaller. Frames are taken upright as they are: a browser turns its camera's picture before sending.

    Raises:
        UnusableFrame: a side is, or becomes, shorter than 16 pixels.
    """
    if width * height > MAX_PIXELS:
        shrink = (MAX_PIXELS / (width * height)) ** 0.5
        width, height = int(width * shrink), int(height * shrink)
    width, height = width & ~1, height & ~1
    if min(width, height) < _LEAST_SIDE:
        raise UnusableFrame(f"a camera frame of {width}x{height} pixels is too small")
    return width, height


def copy_frame(frame: av.VideoFrame, buffer: Bytes) -> tuple[int, int]:
    """Copy a frame as I420 to the start of a buffer ``[FRAME_BYTES]``.

    yuv420p, which WebRTC's decoders give, is copied plane by plane (0.1 ms at 1280x720); what is larger is
    shrunk on the way (about 1 ms at 1920x1080), other formats are converted.

    Returns:
        Its width and height in the buffer.

    Raises:
        UnusableFrame: see :func:`fitting_size`.
    """
    width, height = fitting_size(frame.width, frame.height)
    if frame.format.name not in _PLANAR:
        frame = frame.reformat(width=width, height=height, format="yuv420p")
    shrink = frame.width * frame.height > MAX_PIXELS
    start = 0
    for number, plane in enumerate(frame.planes):
        rows, columns = (height, width) if number == 0 else (height // 2, width // 2)
        source = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        source = source[: plane.height, : plane.width]
        goal = buffer[start : start + rows * columns].reshape(rows, columns)
        if shrink:
            cv2.resize(source, (columns, rows), dst=goal, interpolation=cv2.INTER_LINEAR)
        else:
            np.copyto(goal, source[:rows, :columns])
        start += rows * columns
    return width, height
