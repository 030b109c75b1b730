"""What is drawn on a device is what is drawn by NumPy and OpenCV, for several faces at once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.generator import TARGET_CROP
from models.landmarks import raster, tensor_raster
from models.landmarks import topology as face
from models.mesh_maps import mesh_maps
from models.mesh_warp.eyes import eyes_in_frames, with_open_eyes
from models.mesh_warp.flow import skull_points
from models.mesh_warp.mouth import keep_open_mouth
from models.mesh_warp.picture import FacePlates, to_picture_pixels, warp_photo
from models.mesh_warp.tensor_maps import FaceGeometry, moved_faces
from models.mesh_warp.tensor_plates import (
    EyeTensors,
    MouthTensors,
    draw_plates,
    eye_tensors,
    kept_mouth,
    mouth_tensors,
)
from models.mesh_warp.tensors import pixel_grid, sampled
from server.targets.store import TargetStore

Float32 = np.ndarray


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[np.ndarray, np.ndarray]]:
    """Photos of the gallery with their landmarks."""
    store = TargetStore(Path(tmp_path_factory.mktemp("store")))
    targets = [store.load(record.id) for record in store.built_ins()[:3]]
    return [(target.images[0], target.landmarks[0].astype(np.float32)) for target in targets]


def posed(landmarks: np.ndarray, case: str) -> np.ndarray:
    shown = landmarks.copy()
    if case == "speaking":
        for lip in (face.LIP_INNER_LOWER, face.LIP_OUTER_LOWER):
            shown[lip[1:-1], 1] += 24
    if case == "blinking":
        shown[face.RIGHT_EYE_UPPER, 1] += 9
        shown[face.LEFT_IRIS, 0] += 5
    if case == "turning":
        turn = np.array([[0.96, 0.1, 0.25], [-0.12, 0.98, 0.0], [-0.25, 0.0, 0.97]], np.float32)
        shown = (shown - 256) @ turn + np.array([262, 250, 256], np.float32)
    return shown


CASES = ("still", "speaking", "blinking", "turning")


def test_maps_of_several_faces(faces: list[tuple[np.ndarray, np.ndarray]]) -> None:
    size = 256
    still = [to_picture_pixels(landmarks, size) for _, landmarks in faces for _ in CASES]
    shown = [to_picture_pixels(posed(landmarks, case), size) for _, landmarks in faces for case in CASES]
    shown[0] = shown[0] + np.float32(300)  # out of the picture
    geometry = FaceGeometry(
        *(
            torch.from_numpy(np.stack(parts).astype(np.float32))
            for parts in (still, [skull_points(p) for p in still], [eyes_in_frames(p) for p in still])
        )
    )
    moved = moved_faces(geometry, torch.from_numpy(np.stack(shown)), size)
    for index, (photo, to) in enumerate(zip(still, shown, strict=True)):
        np.testing.assert_allclose(moved.maps[index], mesh_maps(photo, to, size), atol=1e-3)
        np.testing.assert_allclose(moved.opened[index], with_open_eyes(to, photo), atol=2e-3)


def test_landmarks_all_in_one_place_give_maps(faces: list[tuple[np.ndarray, np.ndarray]]) -> None:
    points = to_picture_pixels(faces[0][1], 256)
    one = (torch.from_numpy(np.asarray(a, np.float32))[None] for a in (points, skull_points(points)))
    geometry = FaceGeometry(*one, torch.from_numpy(eyes_in_frames(points))[None])
    maps = moved_faces(geometry, torch.full((1, 478, 3), 128.0), 256).maps
    assert maps.isfinite().all()


def test_rasters(faces: list[tuple[np.ndarray, np.ndarray]]) -> None:
    shown = np.stack([(posed(points, "turning") + 0.5) / TARGET_CROP for _, points in faces])
    given = tensor_raster.draw_landmarks(torch.from_numpy(shown), 128)
    for index, points in enumerate(shown):
        wanted = raster.draw_landmarks(points, 128).transpose(2, 0, 1) / 255.0
        lit = wanted > 0.1
        assert np.abs(given[index].numpy() - wanted).mean() < 0.002  # of 1; lines light 0.012 on average
        assert np.abs(given[index].numpy() - wanted)[lit].mean() < 0.1
        assert given[index].numpy()[lit].mean() == pytest.approx(wanted[lit].mean(), rel=0.05)


def test_warped_photos(faces: list[tuple[np.ndarray, np.ndarray]]) -> None:
    photo = cv2.resize(faces[0][0], (256, 256), interpolation=cv2.INTER_AREA)
    photo = cv2.GaussianBlur(photo, (0, 0), 1)  # OpenCV rounds places to 1/32 pixel
    flow = np.random.default_rng(0).normal(0, 0.05, (8, 8, 2)).astype(np.float32)
    flow = cv2.resize(flow, (64, 64), interpolation=cv2.INTER_CUBIC)
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(flow.transpose(2, 0, 1).copy())[None], size=(256, 256), mode="bilinear"
    )
    x, y = pixel_grid(256, whole)
    pictures = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None].float()
    warped = sampled(pictures, x + 256 * whole[:, 0], y + 256 * whole[:, 1], "reflection")[0]
    off = np.abs(warped.permute(1, 2, 0).numpy().round() - warp_photo(photo, flow))
    assert off.mean() < 0.3
    assert off.max() <= 4


@pytest.mark.parametrize("size", [256, 512])
def test_eyes_and_mouth(size: int, faces: list[tuple[np.ndarray, np.ndarray]]) -> None:
    photos, shown, opened, wanted, eyes, mouths = [], [], [], [], [], []
    for (image, landmarks), case in zip(faces, CASES[1:], strict=True):
        photo = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        points = to_picture_pixels(landmarks, size)
        plates = FacePlates.of(photo, points)
        to = to_picture_pixels(posed(landmarks, case), size)
        drawn = photo.copy()
        plates.draw(drawn, to, with_open_eyes(to, points))
        wanted.append(drawn)
        photos.append(torch.from_numpy(photo.transpose(2, 0, 1).copy()).float())
        shown.append(torch.from_numpy(to))
        opened.append(torch.from_numpy(with_open_eyes(to, points)))
        eyes.append([eye_tensors(plates, index, size) for index in (0, 1)])
        mouths.append(mouth_tensors(plates))
    batch = torch.stack(photos)
    given = draw_plates(
        batch,
        batch,
        [
            EyeTensors(*(torch.cat(part) for part in zip(*side, strict=True)))
            for side in zip(*eyes, strict=True)
        ],
        MouthTensors(*(torch.cat(part) for part in zip(*mouths, strict=True))),
        torch.stack(shown),
        torch.stack(opened),
    )
    for picture, still, drawn in zip(given, photos, wanted, strict=True):
        off = np.abs(picture.permute(1, 2, 0).numpy() - drawn)
        assert (np.abs(drawn - still.permute(1, 2, 0).numpy()) > 2).mean() > 2e-3  # something was drawn
        assert off.max() <= 6
        assert (off > 2).mean() < 1e-3


def test_an_open_mouth_is_kept_and_nothing_else(faces: list[tuple[np.ndarray, np.ndarray]]) -> None:
    drawn, made = (np.full((256, 256, 3), value, np.uint8) for value in (40, 200))
    for case, open_ in (("still", False), ("speaking", True)):
        shown = to_picture_pixels(posed(faces[1][1], case), 256)
        if open_:  # wide open
            for lip in (face.LIP_INNER_LOWER, face.LIP_OUTER_LOWER):
                shown[lip[1:-1], 1] += 12
        picture = made.copy()
        keep_open_mouth(picture, drawn, shown)
        kept = kept_mouth(torch.from_numpy(shown)[None], 256)[0, 0].numpy()
        np.testing.assert_allclose(picture[..., 0], np.rint(200 - 160 * kept), atol=1)
        x, y = shown[[13, 14], :2].mean(0).round().astype(int)
        assert picture[y, x].tolist() == ([40] * 3 if open_ else [200] * 3)
        outside = np.ones((256, 256), np.uint8)
        lips = shown[[*face.LIP_OUTER_UPPER, *face.LIP_OUTER_LOWER[::-1]], :2].round().astype(np.int32)
        cv2.fillPoly(outside, [lips], 0)
        assert (picture[cv2.erode(outside, np.ones((15, 15), np.uint8)) > 0] == 200).all()


def test_an_eye_outside_the_photo_is_left_alone(faces: list[tuple[np.ndarray, np.ndarray]]) -> None:
    photo = cv2.resize(faces[0][0], (256, 256), interpolation=cv2.INTER_AREA)
    points = to_picture_pixels(faces[0][1], 256) - np.array([150, 0, 0], np.float32)
    plates = FacePlates.of(photo, points)
    assert plates.eyes[0] is None
    drawn = photo.copy()
    opened = with_open_eyes(points, points)
    plates.draw(drawn, points, opened)
    batch = torch.from_numpy(photo.transpose(2, 0, 1).copy())[None].float()
    eyes = [eye_tensors(plates, index, 256) for index in (0, 1)]
    one, other = torch.from_numpy(points)[None], torch.from_numpy(opened)[None]
    given = draw_plates(batch, batch, eyes, mouth_tensors(plates), one, other)[0].permute(1, 2, 0).numpy()
    assert np.abs(given - drawn).max() <= 4
