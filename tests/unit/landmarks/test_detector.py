"""Faces are found, in photos of any size and in films, and told apart."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import skimage.data

from models.landmarks.detector import FaceDetector, _native_noise_filtered
from models.landmarks.features import eye_heights


@pytest.fixture(scope="module")
def stills() -> Iterator[FaceDetector]:
    with FaceDetector(static=True, max_faces=3) as detector:
        yield detector


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return np.asarray(skimage.data.astronaut())


def wide(*faces: np.ndarray) -> np.ndarray:
    """A large grey photo with pictures side by side in it."""
    photo = np.full((1500, 2400, 3), 110, np.uint8)
    for index, picture in enumerate(faces):
        height, width = picture.shape[:2]
        left = 100 + index * 1200
        photo[200 : 200 + height, left : left + width] = picture
    return photo


def test_landmarks_lie_on_the_face(stills: FaceDetector, astronaut: np.ndarray) -> None:
    (face,) = stills.detect(astronaut)
    assert face.shape == (478, 3)
    assert face.dtype == np.float32
    np.testing.assert_allclose(face[1, :2], [224, 124], atol=12)  # tip of the nose
    assert face[152, 1] > face[13, 1] > face[1, 1] > face[10, 1]  # chin, lips, nose, forehead
    assert face[234, 2] > face[1, 2]  # the ear is farther away than the nose
    assert (eye_heights(face) > 2).all()


def test_two_faces_in_one_photo_are_two(stills: FaceDetector, astronaut: np.ndarray) -> None:
    larger = cv2.resize(astronaut, (900, 900))
    faces = stills.detect(wide(astronaut, larger))
    assert len(faces) == 2
    assert np.ptp(faces[0][:, 0]) > 1.4 * np.ptp(faces[1][:, 0])  # the larger one first


def test_a_small_face_in_a_large_photo_is_found_where_it_is(
    stills: FaceDetector, astronaut: np.ndarray
) -> None:
    alone = stills.detect(astronaut)[0]
    (face,) = stills.detect(wide(astronaut))
    np.testing.assert_allclose(face[:, :2], alone[:, :2] + [100, 200], atol=6)


def test_a_face_that_fills_the_photo_is_found(stills: FaceDetector, astronaut: np.ndarray) -> None:
    assert len(stills.detect(np.ascontiguousarray(astronaut[55:190, 165:285]))) == 1


def test_no_face_gives_none(stills: FaceDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    assert stills.detect(noise) == []


def test_tracking_follows_a_face_and_finds_it_again(astronaut: np.ndarray) -> None:
    with FaceDetector(static=False) as tracking:
        for shift in range(0, 40, 8):
            (face,) = tracking.detect(np.roll(astronaut, shift, axis=1))
        assert abs(face[1, 0] - 224 - 32) < 12
        assert tracking.detect(np.zeros_like(astronaut)) == []
        assert len(tracking.detect(astronaut)) == 1


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(stills: FaceDetector, picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="picture"):
        stills.detect(picture)


def test_closing_twice_does_nothing() -> None:
    detector = FaceDetector(static=False)
    detector.close()
    detector.close()


def test_nothing_known_is_logged_and_all_else_is(
    capfd: pytest.CaptureFixture[str], astronaut: np.ndarray
) -> None:
    with FaceDetector(static=False) as detector:
        detector.detect(astronaut)
    os.write(2, b"something else\n")
    assert capfd.readouterr().err == "something else\n"


def test_without_room_for_what_is_held_back_nothing_is(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    before = os.listdir("/proc/self/fd")
    with _native_noise_filtered():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
    assert os.listdir("/proc/self/fd") == before
    assert "XNNPACK" in capfd.readouterr().err


@pytest.mark.parametrize("where", ["within", "after"])
def test_a_native_crash_is_not_held_back(where: str) -> None:
    program = f"""
import os, signal
from models.landmarks.detector import _native_noise_filtered
with _native_noise_filtered():
    if {where == "within"}:
        os.kill(os.getpid(), signal.SIGSEGV)
os.kill(os.getpid(), signal.SIGSEGV)
"""
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program], capture_output=True, text=True
    )
    assert ended.returncode < 0
    assert "Fatal Python error: Segmentation fault" in ended.stderr
    assert "<string>" in ended.stderr
