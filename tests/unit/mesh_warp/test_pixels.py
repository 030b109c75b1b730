"""The compiled painters' single steps against NumPy and OpenCV, and what no landmark may make them do."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numba.core import caching

from models.compiled import compiled
from models.landmarks import topology as face
from models.mesh_warp.eye_pixels import paint_eye, set_eye
from models.mesh_warp.eyes import draw_eyes, eye_plates, with_open_eyes
from models.mesh_warp.feature_frame import EdgeTable, FeatureFrame
from models.mesh_warp.mouth import draw_mouth, mouth_plate
from models.mesh_warp.mouth_pixels import lip_edges, paint_mouth
from models.mesh_warp.pixels import edge_heights, sampled, table_index, to_local, to_pixels, window_of
from server.bench.clip import astronaut

Picture = np.ndarray


@pytest.fixture(scope="module")
def portrait() -> tuple[Picture, np.ndarray]:
    """A photo of 256 pixels a side and its landmarks in them."""
    photo, landmarks = astronaut()
    small = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small), (landmarks * (256 / len(photo))).astype(np.float32)


def test_frames_are_as_the_arrays_frames(portrait: tuple[Picture, np.ndarray]) -> None:
    _, landmarks = portrait
    frame = FeatureFrame.between(landmarks[33], landmarks[133])
    u, v = to_local(frame.pixels, 70.0, 90.5)
    np.testing.assert_allclose((u, v), frame.to_local(np.array([70.0, 90.5])), rtol=1e-5)
    np.testing.assert_allclose(to_pixels(frame.pixels, u, v), (70.0, 90.5), rtol=1e-6)
    rows, columns = frame.window((-0.1, 1.1), (-0.7, 0.6), 256) or pytest.fail("no window")
    window = window_of(frame.pixels, -0.1, 1.1, -0.7, 0.6, 256)
    assert window == (rows.start, rows.stop, columns.start, columns.stop)
    assert window_of(frame.pixels, 40.0, 50.0, 0.0, 1.0, 256) == (0, 0, 0, 0)


def test_edges_are_as_the_arrays_edges(portrait: tuple[Picture, np.ndarray]) -> None:
    _, landmarks = portrait
    frame = FeatureFrame.between(landmarks[33], landmarks[133])
    heights = edge_heights(frame.pixels, landmarks, face.RIGHT_EYE_UPPER)
    table = EdgeTable.through([frame.to_local(landmarks[face.RIGHT_EYE_UPPER])])
    np.testing.assert_allclose(heights, table.heights[0], atol=1e-5)
    along = np.linspace(-3.0, 4.0, 50)
    assert [table_index(u) for u in along] == EdgeTable.index(along).tolist()


def test_samples_are_opencvs() -> None:
    """Which interpolates in steps of 1/32 of a pixel; beyond the edge both go on with the edge."""
    random = np.random.default_rng(1)
    picture = cv2.GaussianBlur(random.integers(0, 256, (20, 30, 3), np.uint8), (0, 0), 2)
    x, y = random.uniform(-5, 35, 200).astype(np.float32), random.uniform(-5, 25, 200).astype(np.float32)
    wanted = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    got = np.array([sampled(picture, float(a), float(b)) for a, b in zip(x, y, strict=True)])
    assert np.abs(got - wanted).max() < 2.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -1e12, 0.0])
def test_impossible_landmarks_stay_inside_the_picture(
    portrait: tuple[Picture, np.ndarray], value: float
) -> None:
    """Compiled code checks no index: what a landmark says must not lead out of an array."""
    photo, landmarks = portrait
    eyes, mouth = eye_plates(photo, landmarks), mouth_plate(photo, landmarks)
    random = np.random.default_rng(2)
    for _ in range(30):
        wild = landmarks.copy()
        wild[random.random(len(wild)) < 0.2] = value
        around = np.full((256 + 64, 256, 3), 77, np.uint8)
        picture = around[32:-32]
        picture[:] = photo
        draw_mouth(picture, wild, mouth)
        draw_eyes(picture, wild, landmarks, eyes)
        draw_eyes(picture, landmarks, wild, eyes)
        assert (around[:32] == 77).all()
        assert (around[-32:] == 77).all()


def test_arrays_of_other_kinds_compile_nothing_anew(portrait: tuple[Picture, np.ndarray]) -> None:
    """A call would stand still for seconds."""
    photo, landmarks = portrait
    draw_mouth(photo.copy(), landmarks, mouth_plate(photo, landmarks))
    draw_eyes(photo.copy(), landmarks, with_open_eyes(landmarks, landmarks), eye_plates(photo, landmarks))
    known = [len(function.signatures) for function in (paint_mouth, paint_eye, set_eye, lip_edges)]
    constant = photo.copy()
    constant.flags.writeable = False
    for other in (landmarks.astype(np.float64), np.asfortranarray(landmarks), landmarks[:, :2]):
        other.flags.writeable = False
        eyes, mouth = eye_plates(constant, other), mouth_plate(constant, other)
        draw_mouth(photo.copy(), other, mouth)
        draw_eyes(photo.copy(), other, with_open_eyes(other, other), eyes)
    assert [len(f.signatures) for f in (paint_mouth, paint_eye, set_eye, lip_edges)] == known


def test_what_is_compiled_at_the_installation_is_all_that_a_frame_needs() -> None:
    """In a process of its own, where nothing is compiled yet."""
    program = """
import numpy as np
from models.precompile import precompile
precompile()
from models.mesh_maps import mesh_maps
from models.mesh_warp import MeshWarpGenerator, eye_pixels, mouth_pixels, pixels, splats
from server.bench.clip import astronaut
modules = (eye_pixels, mouth_pixels, pixels, splats)
functions = [f for module in modules for f in vars(module).values() if hasattr(f, "signatures")]
known = [len(f.signatures) for f in functions]
photo, landmarks = astronaut()
generator = MeshWarpGenerator(512)
target = generator.encode_target(photo[None], landmarks[None])
generator.generate([target], landmarks[None] + np.float32(3))
mesh_maps(target.points, target.points + np.float32(3), 512)
assert len(functions) > 15
assert [len(f.signatures) for f in functions] == known
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_full_disk_costs_the_next_start_its_time_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    monkeypatch.setattr(caching.config, "CACHE_DIR", str(tmp_path))

    @compiled
    def twice(x: float) -> float:
        return 2 * x

    with caplog.at_level(logging.WARNING):
        assert twice(21.0) == 42.0
    assert "could not be kept" in caplog.text


def test_without_any_folder_functions_are_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(caching.FunctionCache._impl_class, "_locator_classes", [])

    with caplog.at_level(logging.WARNING):

        @compiled
        def thrice(x: float) -> float:
            return 3 * x

        assert thrice(14.0) == 42.0
    assert "no folder can be written" in caplog.text


def test_ctrl_c_waits_until_machine_code_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised within LLVM's callbacks it was lost, and the process ended with a segmentation fault."""

    @compiled
    def doubled(number: float) -> float:
        return 2 * number

    done = []

    def keeping(cache: caching.FunctionCache, signature: object, data: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        done.append(signature)

    monkeypatch.setattr(caching.FunctionCache, "save_overload", keeping)
    with pytest.raises(KeyboardInterrupt):
        doubled(1.0)
    assert len(done) == 1
    assert doubled(1.5) == 3.0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
