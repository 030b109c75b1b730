"""Camera frames of every size and format on their way into shared memory."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from server.inference.camera import FRAME_BYTES, MAX_PIXELS, UnusableFrame, copy_frame, fitting_size


def gradient(width: int, height: int) -> np.ndarray:
    """A smooth picture in which each place has a colour of its own."""
    x, y = np.meshgrid(np.linspace(30, 220, width), np.linspace(30, 220, height))
    return np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8)


def copied(frame: av.VideoFrame) -> np.ndarray:
    buffer = np.full(FRAME_BYTES, 255, np.uint8)
    width, height = copy_frame(frame, buffer)
    size = width * height * 3 // 2
    assert (buffer[size:] == 255).all(), "nothing is written behind the frame"
    return np.asarray(cv2.cvtColor(buffer[:size].reshape(-1, width), cv2.COLOR_YUV2RGB_I420))


@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (322, 242), (1280, 720), (720, 1280), (16, 16), (426, 240)]
)
def test_a_frame_that_fits_is_copied_as_it_is(width: int, height: int) -> None:
    picture = gradient(width, height)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    got = copied(frame)
    assert got.shape == picture.shape
    assert np.abs(got.astype(int) - picture).mean() < 4


@pytest.mark.parametrize(("width", "height"), [(641, 480), (640, 481), (321, 241)])
def test_an_odd_last_row_or_column_is_left_away(width: int, height: int) -> None:
    picture = gradient(width, height)
    frame = av.VideoFrame(width, height, "yuv420p")
    even = av.VideoFrame.from_ndarray(picture[: height & ~1, : width & ~1], format="rgb24")
    even = even.reformat(format="yuv420p")
    for plane, source in zip(frame.planes, even.planes, strict=True):
        rows = np.frombuffer(memoryview(source), np.uint8).reshape(-1, source.line_size)
        goal = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        goal[: source.height, : source.width] = rows[:, : source.width]
    got = copied(frame)
    assert got.shape == (height & ~1, width & ~1, 3)
    assert np.abs(got.astype(int) - picture[: height & ~1, : width & ~1]).mean() < 4


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (3840, 2160), (1281, 721)])
def test_a_larger_frame_is_made_smaller_in_proportion(width: int, height: int) -> None:
    frame = av.VideoFrame.from_ndarray(gradient(width, height), format="rgb24").reformat(format="yuv420p")
    got = copied(frame)
    high, wide = got.shape[:2]
    assert wide * high <= MAX_PIXELS
    assert wide / high == pytest.approx(width / height, rel=0.01)
    assert np.abs(got.astype(int) - gradient(wide, high)).mean() < 5


@pytest.mark.parametrize("pixel_format", ["rgb24", "nv12", "yuv444p", "yuvj420p"])
def test_other_formats_are_converted(pixel_format: str) -> None:
    picture = gradient(320, 240)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
    assert np.abs(copied(frame).astype(int) - picture).mean() < 12


@pytest.mark.parametrize(("width", "height"), [(2, 2), (14, 480), (100_000, 10), (100_000, 20)])
def test_a_frame_too_thin_for_a_face_is_refused(width: int, height: int) -> None:
    with pytest.raises(UnusableFrame):
        fitting_size(width, height)
