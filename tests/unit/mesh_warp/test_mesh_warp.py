"""The mesh warp on the public-domain astronaut: the detector sees in the picture what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data
from scipy.spatial.transform import Rotation

from models.landmarks import topology as face
from models.landmarks.crop import face_crop
from models.landmarks.detector import FaceDetector
from models.landmarks.driver import DriverMotion, eye_heights
from models.landmarks.features import gaze, lip_gap
from models.landmarks.geometry import normalise
from models.landmarks.retarget import RetargetTarget, retarget
from models.mesh_warp import MeshWarpGenerator, MeshWarpTarget

STILL_MOTION = DriverMotion(np.zeros((478, 3)), (0.0, 0.0), np.eye(3), np.zeros(3), 1.0, False)


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector(static=True) as detector:
        yield detector


@pytest.fixture(scope="module")
def crop(detector: FaceDetector) -> tuple[np.ndarray, np.ndarray]:
    picture = skimage.data.astronaut()
    crop, landmarks, _ = face_crop(picture, detector.detect(picture)[0], 512)
    return crop, landmarks


@pytest.fixture(scope="module")
def generator() -> MeshWarpGenerator:
    return MeshWarpGenerator(256)


@pytest.fixture(scope="module")
def target(generator: MeshWarpGenerator, crop: tuple[np.ndarray, np.ndarray]) -> MeshWarpTarget:
    return generator.encode_target(crop[0][None], crop[1][None])


def shown(target: MeshWarpTarget, motion: DriverMotion) -> np.ndarray:
    return retarget(motion, RetargetTarget.of(target.landmarks))


def mouth_gap(landmarks: np.ndarray) -> float:
    normalised, _ = normalise(landmarks)
    return float(normalised[14, 1] - normalised[13, 1])


def opening(amount: float) -> DriverMotion:
    expression = np.zeros((478, 3))
    lower = np.concatenate([face.LIP_INNER_LOWER[1:-1], face.LIP_OUTER_LOWER[1:-1]])
    expression[lower, 1] = amount
    expression[face.JAWLINE[7:14], 1] = 0.8 * amount
    return DriverMotion(expression, (0.0, 0.0), np.eye(3), np.zeros(3), 1.0, False)


def test_background_stays_where_it_is(generator: MeshWarpGenerator, target: MeshWarpTarget) -> None:
    moved = DriverMotion(np.zeros((478, 3)), (0.0, 0.0), np.eye(3), np.array([0.2, 0.1, 0]), 1.0, False)
    picture = generator.generate([target], shown(target, moved)[None])[0].astype(int)
    corner = (slice(0, 12), slice(0, 12))
    assert np.abs(picture[corner] - target.photo[corner]).mean() < 2
    assert np.abs(picture - target.photo).mean() > 3


@pytest.mark.parametrize("size", [256, 512])
def test_the_photos_own_landmarks_show_the_photo(size: int, crop: tuple[np.ndarray, np.ndarray]) -> None:
    generator = MeshWarpGenerator(size)
    target = generator.encode_target(crop[0][None], crop[1][None])
    picture = generator.generate([target], target.landmarks[None])[0]
    assert np.abs(picture.astype(int) - target.photo).mean() < 0.5


def test_a_smile_with_teeth_closes(
    generator: MeshWarpGenerator, target: MeshWarpTarget, detector: FaceDetector
) -> None:
    """At rest the driver's lips are closed, so the target's are; nothing else of the photo changes."""
    landmarks = shown(target, STILL_MOTION)
    picture = generator.generate([target], landmarks[None])[0]
    before, after = (lip_gap(normalise(detector.detect(x)[0])[0]) for x in (target.photo, picture))
    assert before > 0.1
    assert after < 0.05
    difference = np.abs(picture.astype(int) - target.photo).max(axis=2)
    top, bottom = (landmarks[[4, 152], 1] / 2).astype(int)
    assert difference[:top].mean() < 0.5
    assert difference[bottom:].mean() < 1.5


def test_the_eyes_turn(generator: MeshWarpGenerator, target: MeshWarpTarget, detector: FaceDetector) -> None:
    seen = []
    for turn in (-0.15, 0.15):
        motion = replace(STILL_MOTION, gaze=np.array([turn, 0.0]))
        picture = generator.generate([target], shown(target, motion)[None])[0]
        seen.append(gaze(normalise(detector.detect(picture)[0])[0])[0])
    assert seen[1] - seen[0] > 0.12


def test_a_falling_lid_covers_the_eye_and_does_not_squeeze_it(
    generator: MeshWarpGenerator, target: MeshWarpTarget
) -> None:
    motion = replace(STILL_MOTION, closure=(0.4, 0.4))
    half, still = (
        generator.generate([target], shown(target, m)[None])[0].astype(int) for m in (motion, STILL_MOTION)
    )
    x, y = np.rint(target.points[468, :2]).astype(int)
    low = int(np.rint(target.points[145, 1])) - 2
    assert np.abs(half[low, x - 1 : x + 2] - still[low, x - 1 : x + 2]).mean() < 12  # the iris stays
    high = int(np.rint(target.points[159, 1])) + 1
    assert np.abs(half[high, x - 1 : x + 2] - still[high, x - 1 : x + 2]).mean() > 20  # the lid came down
    assert y > high


def test_both_sizes_show_the_same(crop: tuple[np.ndarray, np.ndarray]) -> None:
    pictures = []
    for size in (256, 512):
        generator = MeshWarpGenerator(size)
        target = generator.encode_target(crop[0][None], crop[1][None])
        pictures.append(generator.generate([target], shown(target, opening(0.3))[None])[0])
    halved = cv2.resize(pictures[1], (256, 256), interpolation=cv2.INTER_AREA)
    assert np.abs(halved.astype(int) - pictures[0]).mean() < 3


def test_a_photo_that_cuts_the_eyes_off_still_serves(crop: tuple[np.ndarray, np.ndarray]) -> None:
    generator = MeshWarpGenerator(256)
    landmarks = crop[1] - np.float32([0, 300, 0])
    target = generator.encode_target(crop[0][None], landmarks[None])
    assert generator.generate([target], landmarks[None]).shape == (1, 256, 256, 3)


def test_a_far_turn_and_a_wild_expression_give_a_picture(
    generator: MeshWarpGenerator, target: MeshWarpTarget
) -> None:
    motion = DriverMotion(
        np.random.default_rng(0).normal(0, 2, (478, 3)), (1.0, 0.0),
        Rotation.from_euler("yx", [85, 40], degrees=True).as_matrix(), np.array([9.0, -9, 0]), 5.0, False,
        widening=(0.0, 0.35), gaze=np.array([4.0, -4.0]),
    )  # fmt: skip
    landmarks = shown(target, motion)
    assert np.isfinite(landmarks).all()
    assert generator.generate([target], landmarks[None]).shape == (1, 256, 256, 3)


def test_a_target_of_another_generator_is_refused(
    generator: MeshWarpGenerator, crop: tuple[np.ndarray, np.ndarray]
) -> None:
    class Foreign:
        landmarks = crop[1]

    with pytest.raises(TypeError, match="another generator"):
        generator.generate([Foreign()], crop[1][None])


@pytest.mark.parametrize("size", [256, 512])
def test_an_opened_mouth_is_seen_open_and_dark_inside(
    size: int, crop: tuple[np.ndarray, np.ndarray], detector: FaceDetector
) -> None:
    generator = MeshWarpGenerator(size)
    target = generator.encode_target(crop[0][None], crop[1][None])
    landmarks = shown(target, opening(0.3))
    picture = generator.generate([target], landmarks[None])[0]
    seen = detector.detect(picture)[0]
    assert mouth_gap(seen) > 0.3
    low = (landmarks[13] * 0.35 + landmarks[14] * 0.65)[:2] * size / 512
    inside = picture[int(low[1]) - 2 : int(low[1]) + 3, int(low[0]) - 2 : int(low[0]) + 3]
    assert inside.mean() < 100


@pytest.mark.parametrize(("closure", "shut"), [((1.0, 1.0), (True, True)), ((1.0, 0.0), (True, False))])
def test_closed_lids_are_seen_closed(
    closure: tuple[float, float],
    shut: tuple[bool, bool],
    generator: MeshWarpGenerator,
    target: MeshWarpTarget,
    detector: FaceDetector,
) -> None:
    motion = DriverMotion(np.zeros((478, 3)), closure, np.eye(3), np.zeros(3), 1.0, False)
    picture = generator.generate([target], shown(target, motion)[None])[0]
    open_heights = eye_heights(normalise(detector.detect(target.photo)[0])[0])
    heights = eye_heights(normalise(detector.detect(picture)[0])[0])
    for height, before, closed in zip(heights, open_heights, shut, strict=True):
        if closed:
            assert height < 0.65 * before
        else:
            assert height > 0.8 * before


def test_a_batch_gives_what_each_gives_alone(generator: MeshWarpGenerator, target: MeshWarpTarget) -> None:
    landmarks = np.stack([shown(target, motion) for motion in (STILL_MOTION, opening(0.1), opening(0.3))])
    together = generator.generate([target] * 3, landmarks)
    for index in range(3):
        alone = generator.generate([target], landmarks[index : index + 1])[0]
        assert np.abs(together[index].astype(int) - alone).max() <= 1


@pytest.mark.parametrize("fault", ["nan", "one place", "far away", "huge"])
def test_impossible_landmarks_still_give_a_picture(
    fault: str, generator: MeshWarpGenerator, target: MeshWarpTarget
) -> None:
    landmarks = target.landmarks.copy()
    match fault:
        case "nan":
            landmarks[3] = np.nan
        case "one place":
            landmarks[:] = 256
        case "far away":
            landmarks += 1e6
        case "huge":
            landmarks *= 1e3
    picture = generator.generate([target], landmarks[None])[0]
    assert picture.shape == (256, 256, 3)
    if fault == "nan":
        assert np.abs(picture.astype(int) - target.photo).mean() < 1.0


def test_of_several_photos_the_most_frontal_is_used(
    generator: MeshWarpGenerator, crop: tuple[np.ndarray, np.ndarray]
) -> None:
    picture, landmarks = crop
    turn = DriverMotion(
        np.zeros((478, 3)), (0.0, 0.0),
        np.array([[0.9, 0, 0.436], [0, 1, 0], [-0.436, 0, 0.9]]), np.zeros(3), 1.0, False,
    )  # fmt: skip
    aside = retarget(turn, RetargetTarget.of(landmarks))
    target = generator.encode_target(np.stack([picture, picture]), np.stack([aside, landmarks]))
    np.testing.assert_array_equal(target.landmarks, landmarks)
