"""The synthetic driver's film: a still face made to perform, on a background of a colour no target has."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import cv2
import numpy as np

from server.bench.motion import PERIOD_S, motion_at, perform

if TYPE_CHECKING:
    from models.generator import Generator

WIDTH: Final = 640
HEIGHT: Final = 480
#: RGB. Around the driver's face: seen at the peer, it would be the driver's own camera.
BACKGROUND: Final = (255, 0, 255)
_FACE_SIDE: Final = 440
_CROP: Final = 512


def performance(
    generator: Generator, image: np.ndarray, landmarks: np.ndarray, fps: int
) -> Iterator[np.ndarray]:
    """Frames of one period of the performance, RGB uint8 [480, 640, 3].

    Args:
        generator: animates the still.
        image: the face, RGB uint8 [512, 512, 3].
        landmarks: its landmarks, float32 [478, 3], pixels of ``image``.
        fps: frames a second.
    """
    features = generator.encode_target(image[None], landmarks[None])
    top, left = (HEIGHT - _FACE_SIDE) // 2, (WIDTH - _FACE_SIDE) // 2
    for index in range(round(PERIOD_S * fps)):
        moved = perform(landmarks, motion_at(index / fps))
        face = generator.generate([features], moved[None])[0]
        frame = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
        frame[top : top + _FACE_SIDE, left : left + _FACE_SIDE] = cv2.resize(
            face, (_FACE_SIDE, _FACE_SIDE), interpolation=cv2.INTER_AREA
        )
        yield frame


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: on a busy machine several wait for each other by spinning."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def astronaut() -> tuple[np.ndarray, np.ndarray]:
    """The public-domain portrait that scikit-image carries, cut to the face: image and landmarks."""
    from skimage.data import astronaut as photo

    from models.landmarks.crop import face_crop
    from models.landmarks.detector import FaceDetector

    with FaceDetector(static=True) as detector:
        picture = photo()
        crop, landmarks, _ = face_crop(picture, detector.detect(picture)[0], _CROP)
    return crop, landmarks


def write_y4m(frames: Iterable[np.ndarray], path: Path, fps: int) -> None:
    """Write I420 frames ``[HEIGHT * 3 // 2, WIDTH]`` as Chromium takes them for a camera."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + frame.tobytes())


def write_tone(path: Path, *, hertz: float = 440.0, seconds: float = 4.0, rate: int = 48000) -> None:
    """Write a tone that comes and goes twice a second, as mono 16-bit WAVE."""
    time = np.arange(round(seconds * rate)) / rate
    wobble = 0.5 - 0.5 * np.cos(2 * np.pi * 2 * time)
    samples = (0.4 * 32767 * wobble * np.sin(2 * np.pi * hertz * time)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def encode_vp8(frames: Iterator[np.ndarray], fps: int, *, bitrate: int = 900_000) -> list[bytes]:
    """Encode once what synthetic drivers send again and again; a keyframe every second.

    Returns:
        The coded frames in order, the first one a keyframe.
    """
    codec = av.CodecContext.create("libvpx", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.bit_rate = bitrate
    codec.time_base = Fraction(1, fps)
    codec.gop_size = fps
    codec.thread_count = 1  # its threads wait for each other by spinning
    codec.options = {
        "deadline": "realtime",
        "cpu-used": "8",
        "lag-in-frames": "0",
        "error-resilient": "default",
    }
    packets: list[bytes] = []
    for index, frame in enumerate(frames):
        planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).astype(np.uint8, copy=False)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        picture.pts = index
        packets += [bytes(packet) for packet in codec.encode(picture)]
    packets += [bytes(packet) for packet in codec.encode(None)]
    return packets


def encode_opus(seconds: float = 4.0, *, hertz: int = 440) -> list[bytes]:
    """A tone in Opus packets of 20 ms."""
    codec = av.CodecContext.create("libopus", "w")
    assert isinstance(codec, av.AudioCodecContext)
    codec.sample_rate, codec.layout, codec.format = 48000, "mono", "s16"
    codec.bit_rate = 32000
    samples = (9000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 48000)) / 48000)).astype(np.int16)
    packets: list[bytes] = []
    for start in range(0, len(samples) - 959, 960):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="s16", layout="mono")
        frame.sample_rate = 48000
        frame.pts = start
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets
