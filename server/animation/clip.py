"""Reads a driver's clip: a film or a folder of pictures, to landmarks at a steady frame rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from models.film import open_film, upright
from models.landmarks.crop import face_size
from models.landmarks.detector import FaceDetector
from models.landmarks.extraction import ExtractionOptions
from server.animation.errors import AnimationError
from server.targets.decode import PhotoLimits, decode_photo
from server.targets.errors import PhotoRefused

__all__ = ["ClipLimits", "DriverClip", "read_clip"]

Progress = Callable[[int, int | None], None]
Picture = npt.NDArray[np.uint8]

#: Frames a second where the clip does not say, and the most that are taken of one.
_USUAL_FPS, _MOST_FPS = 25.0, 60.0
#: Detection sees frames at most this large; faces of people in front of a camera are far from small.
_SEEN_SIDE: Final = 1280
#: The last picture of a film is seen for at most this long.
_LONGEST_LAST_S: Final = 1.0
_PICTURES: Final = {".jpg", ".jpeg", ".png", ".webp"}
_MIN_FACES: Final = 0.2  # share of the frames that must show one


@dataclass(frozen=True)
class ClipLimits:
    """What a driver's clip may be.

    Attributes:
        max_seconds: length; None: any.
        max_bytes: size of the file; None: any.
        max_pixels: width times height.
    """

    max_seconds: float | None = None
    max_bytes: int | None = None
    max_pixels: int = 3840 * 2160


@dataclass(frozen=True)
class DriverClip:
    """What is kept of a driver's clip: landmarks, no pictures.

    Attributes:
        fps: frames a second.
        landmarks: of each frame ``[478, 3]``, pixels; None where no face was found.
        sound: the file, where it has sound.
    """

    fps: float
    landmarks: list[npt.NDArray[np.float32] | None]
    sound: Path | None

    @property
    def times(self) -> list[float]:
        """Seconds of the frames."""
        return [index / self.fps for index in range(len(self.landmarks))]


def read_clip(
    path: Path,
    *,
    fps: float | None = None,
    until: float | None = None,
    limits: ClipLimits | None = None,
    progress: Progress | None = None,
) -> DriverClip:
    """Decode a clip and find its one face in every frame.

    Args:
        path: of a film (anything FFmpeg reads), or of a folder of pictures, taken in the order of
            their names.
        fps: frames a second that are taken; the film's own, or 25, when left out.
        until: seconds of it that are taken; all of it when left out.
        limits: what it may be.
        progress: told (frames done, frames or None).

    Raises:
        AnimationError: ``no_pictures``, ``driver_*``.
    """
    limits = limits or ClipLimits()
    if path.is_dir():
        rate = fps or _USUAL_FPS
        pictures, number = _pictures_of_folder(path, rate, limits)
        return DriverClip(rate, _track(pictures, number, rate, until, progress), None)
    try:
        if limits.max_bytes is not None and path.stat().st_size > limits.max_bytes:
            megabytes = limits.max_bytes / 1024**2
            raise AnimationError("driver_too_large", f"{path.name} is larger than {megabytes:g} MB.")
        with open_film(path) as container:
            if not container.streams.video:
                raise AnimationError("no_pictures", f"{path.name} has sound only; it shows nobody.")
            stream = container.streams.video[0]
            if stream.width * stream.height > limits.max_pixels:
                raise AnimationError(
                    "driver_too_large", f"{path.name} is {stream.width}x{stream.height}: too large."
                )
            stream.thread_count = 1
            rate = fps or min(float(stream.average_rate or _USUAL_FPS), _MOST_FPS)
            count = round(stream.frames * rate / float(stream.average_rate)) if stream.average_rate else 0
            frames = _steady(container.decode(stream), rate, limits, path.name)
            landmarks = _track(frames, count or None, rate, until, progress)
            return DriverClip(rate, landmarks, path if container.streams.audio else None)
    except (av.FFmpegError, OSError) as error:
        raise AnimationError(
            "driver_unreadable",
            f"{path.name} cannot be read as a film: {getattr(error, 'strerror', None) or 'it is damaged'}.",
        ) from error


def _steady(frames: Iterator[av.VideoFrame], fps: float, limits: ClipLimits, name: str) -> Iterator[Picture]:
    """The picture that is seen at each ``1 / fps`` seconds, from the first one on."""
    begin: float | None = None
    index = 0
    end = 0.0
    shown: Picture | None = None
    for number, frame in enumerate(frames):
        time = float(frame.time) if frame.time is not None else number / fps
        begin = time if begin is None else begin
        if limits.max_seconds is not None and time - begin > limits.max_seconds:
            raise AnimationError("driver_too_long", f"{name} is longer than {limits.max_seconds:g} s.")
        # the picture before this one is seen until this one comes
        while shown is not None and index / fps < time - begin - 0.5 / fps:
            yield shown
            index += 1
        shown = _seen(frame)
        lasts = float((frame.duration or 0) * (frame.time_base or 0))
        end = time - begin + min(lasts, _LONGEST_LAST_S)
    while shown is not None and (index == 0 or index / fps < end - 0.5 / fps):
        yield shown
        index += 1


def _seen(frame: av.VideoFrame) -> Picture:
    shrink = min(1.0, _SEEN_SIDE / max(frame.width, frame.height))
    if shrink < 1.0:
        frame = frame.reformat(width=round(frame.width * shrink), height=round(frame.height * shrink))
    return upright(frame)


def _pictures_of_folder(folder: Path, fps: float, limits: ClipLimits) -> tuple[Iterator[Picture], int]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
    if not paths:
        raise AnimationError("no_pictures", f"{folder.name} holds no pictures (JPEG, PNG or WebP).")
    if limits.max_seconds is not None and len(paths) > limits.max_seconds * fps:
        raise AnimationError("driver_too_long", f"{folder.name} is longer than {limits.max_seconds:g} s.")

    def read() -> Iterator[Picture]:
        for path in paths:
            try:
                picture = decode_photo(path.read_bytes(), PhotoLimits(max_pixels=limits.max_pixels))
            except PhotoRefused as refusal:
                raise AnimationError("driver_unreadable", f"{path.name}: {refusal.message}") from refusal
            shrink = min(1.0, _SEEN_SIDE / max(picture.shape[:2]))
            if shrink < 1.0:
                picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            yield picture

    return read(), len(paths)


def _track(
    pictures: Iterator[Picture], count: int | None, fps: float, until: float | None, progress: Progress | None
) -> list[npt.NDArray[np.float32] | None]:
    """Landmarks of the one face.

    Raises:
        AnimationError: too few frames show a face, or two of those searched for a second one show it.
    """
    if until is not None:
        most = max(1, round(until * fps))
        pictures, count = islice(pictures, most), min(count or most, most)
    options = ExtractionOptions()
    check = max(1, round(options.two_faces_every_s * fps))
    found: list[npt.NDArray[np.float32] | None] = []
    second = checks = 0
    with FaceDetector(static=False) as follow, FaceDetector(static=True, max_faces=2) as search:
        for index, picture in enumerate(pictures):
            if index % check == 0:
                checks += 1
                sizes = [face_size(face) for face in search.detect(picture)]
                second += len(sizes) > 1 and sizes[1] >= options.second_face * sizes[0]
                if second >= 2:
                    raise _two_faces()
            faces = follow.detect(picture)
            found.append(faces[0] if faces else None)
            if progress:
                progress(index + 1, count)
    if second and checks == 1:
        raise _two_faces()
    with_face = sum(points is not None for points in found)
    if with_face < max(1, _MIN_FACES * len(found)):
        raise AnimationError("driver_no_face", "The clip of the driver shows no face.")
    return found


def _two_faces() -> AnimationError:
    return AnimationError("driver_several_faces", "The clip of the driver shows two faces; one must move.")
