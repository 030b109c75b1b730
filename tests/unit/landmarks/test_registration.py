"""Where skin lies beside the landmarks: learned again from what is known, and harmless with what is odd."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from models.landmarks.geometry import canonical_face
from models.landmarks.registration import PhotoFace, Registration, RegistrationError, shipped_registration
from models.landmarks.topology import MIRROR
from models.training.registration import (
    Pairs,
    RegistrationTraining,
    explained,
    fit,
    save_registration,
    skin_shifts,
)

SETTINGS = RegistrationTraining(pairs=0, components=(8, 8, 8, 8), hidden=64, epochs=30, batch=64)


def turned(yaw: float, roll: float = 0.0, scale: float = 70.0) -> np.ndarray:
    """The average face, turned (radians), in pixels of 256."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    cos, sin = np.cos(roll), np.sin(roll)
    tilt = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return np.asarray(scale * canonical_face() @ (tilt @ turn).T + [128, 128, 0], np.float32)


def sliding(count: int, seed: int) -> Pairs:
    """Faces whose skin slides by six pixels a radian as they turn, along their own horizon."""
    random = np.random.default_rng(seed)
    photos, shown, shifts = [], [], []
    for _ in range(count):
        first, second = random.uniform(-0.4, 0.4, 2)
        roll = random.uniform(-0.5, 0.5)
        noise = random.normal(0, 0.3, (2, 478, 3))  # of a detector
        photos.append(turned(first) + noise[0])
        shown.append(turned(second, roll) + noise[1])
        horizon = np.array([np.cos(roll), np.sin(roll)])
        shifts.append(np.tile(6.0 * (second - first) * horizon, (478, 1)))
    return Pairs(*(np.stack(part).astype(np.float32) for part in (photos, shown, shifts)))


@pytest.fixture(scope="module")
def learned() -> Registration:
    torch.set_num_threads(1)
    return fit(sliding(300, 1), SETTINGS)


def test_it_learns_how_skin_slides(learned: Registration) -> None:
    figures = explained(learned, sliding(60, 2))
    assert figures.squared > 0.9
    assert figures.absolute > 0.7


def test_a_tilted_picture_has_tilted_shifts(learned: Registration) -> None:
    photo = PhotoFace.of(turned(0.0))
    upright = learned.shift(photo, turned(0.3))
    tilted = learned.shift(photo, turned(0.3, roll=0.5))
    cos, sin = np.cos(0.5), np.sin(0.5)
    expected = upright @ np.array([[cos, sin], [-sin, cos]])
    assert np.abs(upright).max() > 1
    np.testing.assert_allclose(tilted, expected, atol=0.5)


def test_shifts_grow_with_the_picture(learned: Registration) -> None:
    small, large = (
        learned.shift(PhotoFace.of(turned(0.0, scale=scale)), turned(0.3, scale=scale)) for scale in (70, 140)
    )
    np.testing.assert_allclose(large, 2 * small, atol=1e-3)


def test_a_mirrored_pair_has_mirrored_shifts() -> None:
    pairs = sliding(1, 3)
    mirrored = pairs.mirrored()
    np.testing.assert_allclose(mirrored.shifts[0, :, 0], -pairs.shifts[0, MIRROR, 0])
    np.testing.assert_allclose(mirrored.photos[0, :, 0], 255 - pairs.photos[0, MIRROR, 0])
    for part, again in zip(pairs, mirrored.mirrored(), strict=True):
        np.testing.assert_allclose(part, again, rtol=1e-6)


def test_weights_are_read_as_they_were_written(learned: Registration, tmp_path: Path) -> None:
    path = tmp_path / "new" / "registration.safetensors"
    save_registration(learned, path)
    photo, shown = PhotoFace.of(turned(0.1)), turned(-0.2)
    np.testing.assert_allclose(
        Registration.load(path).shift(photo, shown), learned.shift(photo, shown), atol=0.05
    )


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_a_file_that_is_not_one_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "registration.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RegistrationError, match=r"registration\.safetensors"):
        Registration.load(path)


def test_a_file_without_a_layer_is_refused(learned: Registration, tmp_path: Path) -> None:
    path = tmp_path / "registration.safetensors"
    without = {name: array for name, array in learned.arrays.items() if name != "bias1"}
    save_registration(Registration(without), path)
    with pytest.raises(RegistrationError):
        Registration.load(path)


def test_the_shipped_one_hardly_moves_a_face_that_does_not_move() -> None:
    face = turned(0.05, scale=55)
    shift = shipped_registration().shift(PhotoFace.of(face), face)
    assert shift.shape == (478, 2)
    assert shift.dtype == np.float32
    assert np.abs(shift).mean() < 1.0


@pytest.mark.parametrize("far", [np.pi / 2, np.pi])
def test_what_training_never_saw_moves_no_skin_across_the_face(far: float) -> None:
    random = np.random.default_rng(0)
    photo = PhotoFace.of(turned(0.0, scale=55))
    for shown in (turned(far, scale=55), turned(0.3) + random.normal(0, 40, (478, 3)).astype(np.float32)):
        shift = shipped_registration().shift(photo, shown)
        assert np.isfinite(shift).all()
        assert np.abs(shift).max() < 0.35 * 140  # of a face 140 pixels high


def test_landmarks_all_in_one_place_move_nothing() -> None:
    photo = PhotoFace.of(turned(0.0))
    assert not shipped_registration().shift(photo, np.full((478, 3), 128.0)).any()
    with pytest.raises(ValueError, match="all in one place"):
        PhotoFace.of(np.zeros((478, 3)))


def test_optical_flow_tells_how_far_skin_lies_beside_a_landmark() -> None:
    made = np.asarray(cv2.resize(skimage.data.astronaut()[:256, 96:352], (256, 256)), np.uint8)
    move = np.array([[1, 0, 2.0], [0, 1, -1.0]], np.float32)
    filmed = np.asarray(cv2.warpAffine(made, move, (256, 256), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    places = np.array([[110, 90], [140, 100], [125, 130]], np.float32)
    np.testing.assert_allclose(skin_shifts(made, filmed, places), [[2.0, -1.0]] * 3, atol=0.4)
