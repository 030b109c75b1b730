"""The network as a generator: equal to the mesh flow before training, batched, saved and read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.generator import TARGET_CROP
from models.landmarks import topology as face
from models.landmarks.geometry import Pose, denormalise
from models.landmarks.registration import PhotoFace, shipped_registration
from models.landmarks.topology import canonical_face
from models.marionette.generator import MarionetteGenerator
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.weights import WeightsError, begin_with, load_network, read_weights, save_network
from models.mesh_maps import MAPS_SIZE, mesh_maps
from models.mesh_warp import MeshWarpGenerator
from models.mesh_warp.eyes import with_open_eyes
from models.mesh_warp.flow import face_flow
from models.mesh_warp.picture import to_picture_pixels


def photo(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (TARGET_CROP, TARGET_CROP), interpolation=cv2.INTER_CUBIC))


def landmarks(shift: float = 0.0, scale: float = 85.0) -> np.ndarray:
    pose = Pose(scale, np.eye(3), np.array([256.0 + shift, 256.0, 0.0]))
    return denormalise(canonical_face(), pose).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> MarionetteNetwork:
    torch.manual_seed(0)
    return MarionetteNetwork(NetworkConfig(width=8, attention_channels=8))


@pytest.mark.parametrize("size", [256, 512])
def test_untrained_it_is_the_mesh_warp(network: MarionetteNetwork, size: int) -> None:
    """Flow and picture, drawn eyes and mouth included, on a face that turns, talks and blinks."""
    photos = np.stack([photo(0), photo(1)])
    faces = np.stack([landmarks(), landmarks(scale=70.0)])
    shown = landmarks(12.0)
    shown[face.LIP_INNER_LOWER[1:-1], 1] += 14
    shown[face.RIGHT_EYE_UPPER, 1] += 6
    pictures = [
        generator.generate([generator.encode_target(photos, faces)], shown[None])[0].astype(float) / 255
        for generator in (MarionetteGenerator(network, size), MeshWarpGenerator(size))
    ]
    assert np.abs(pictures[1] - cv2.resize(photo(0), (size, size)) / 255).mean() > 0.02  # something moved
    assert np.abs(pictures[0] - pictures[1]).max() <= 1e-3

    still = to_picture_pixels(faces[0], size)
    to = to_picture_pixels(shown, size)
    flow = face_flow(still, with_open_eyes(to, still), size)
    np.testing.assert_allclose(mesh_maps(still, to, size)[:2].transpose(1, 2, 0) / 2, flow, atol=1e-3)


def test_a_registered_network_is_told_where_skin_lies(network: MarionetteNetwork) -> None:
    """Untrained, it is the mesh warp of landmarks that are moved there."""
    generator = MarionetteGenerator(MarionetteNetwork(replace(network.config, registered=True)))
    target = generator.encode_target(photo(0)[None], landmarks()[None])
    turn = np.array([[0.97, 0.0, 0.25], [0.0, 1.0, 0.0], [-0.25, 0.0, 0.97]], np.float32)
    shown = ((landmarks() - 256) @ turn + 256).astype(np.float32)
    placed = shipped_registration().placed(PhotoFace.of(landmarks()), shown)
    assert np.abs(placed - shown).max() > 2

    mesh_warp = MeshWarpGenerator()
    still = mesh_warp.encode_target(photo(0)[None], landmarks()[None])
    wanted = mesh_warp.generate([still], placed[None])[0].astype(float)
    np.testing.assert_allclose(generator.generate([target], shown[None])[0], wanted, atol=255e-3)
    assert np.abs(wanted - mesh_warp.generate([still], shown[None])[0]).mean() > 0.5


def test_the_maps_say_which_part_of_the_face_is_where() -> None:
    still = to_picture_pixels(landmarks(), 256)
    shown = to_picture_pixels(landmarks(20.0), 256)
    maps = mesh_maps(still, shown, 256)
    assert maps.shape == (6, MAPS_SIZE, MAPS_SIZE)
    for point in (1, 33, 263, 152):  # nose tip, corners of the eyes, chin
        x, y = (int(v) for v in (shown[point, :2] + 0.5) / 256 * MAPS_SIZE)
        assert np.abs(maps[2:4, y, x] - canonical_face()[point, :2]).max() < 0.25
        assert maps[5, y, x] > 0.4
    assert np.abs(maps[:, :3, :3]).max() < 0.05


def test_targets_with_different_numbers_of_photos_share_a_batch(network: MarionetteNetwork) -> None:
    trained = MarionetteNetwork(network.config)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    generator = MarionetteGenerator(trained)
    one = generator.encode_target(photo(1)[None], landmarks()[None])
    three = generator.encode_target(
        np.stack([photo(2), photo(3), photo(4)]), np.stack([landmarks(), landmarks(9), landmarks(-9)])
    )
    shown = np.stack([landmarks(5), landmarks(-5)])
    together = generator.generate([one, three], shown).astype(int)
    for index, target in enumerate((one, three)):
        alone = generator.generate([target], shown[index : index + 1])[0]
        assert np.abs(together[index] - alone).max() <= 1


def test_512_is_sharper_than_256_enlarged(network: MarionetteNetwork) -> None:
    image = np.random.default_rng(5).integers(0, 255, (1, 512, 512, 3), np.uint8)
    pictures = {}
    for size in (256, 512):
        generator = MarionetteGenerator(network, size)
        pictures[size] = generator.generate(
            [generator.encode_target(image, landmarks()[None])], landmarks()[None]
        )[0]
    assert pictures[512].shape == (512, 512, 3)
    assert np.abs(pictures[512].astype(int) - image[0]).mean() < 2


def test_landmarks_that_are_not_finite_show_the_target_at_rest(network: MarionetteNetwork) -> None:
    generator = MarionetteGenerator(network)
    target = generator.encode_target(photo(6)[None], landmarks()[None])
    bad = landmarks()
    bad[0] = np.nan
    at_rest = generator.generate([target], landmarks()[None])
    np.testing.assert_array_equal(generator.generate([target], bad[None]), at_rest)


def test_weights_are_read_back(network: MarionetteNetwork, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(network, path)
    again = load_network(path)
    assert again.config == network.config
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor.half().float())
    assert not read_weights(path).ranges
    assert path.stat().st_mode & 0o777 == 0o644


def test_activation_ranges_are_kept_beside_the_weights(network: MarionetteNetwork, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    ranges = {"decoder.add": np.array([[-0.25] * 16, [4.5] * 16], np.float32)}
    save_network(network, path, ranges)
    weights = read_weights(path)
    assert weights.ranges.keys() == ranges.keys()
    np.testing.assert_array_equal(weights.ranges["decoder.add"], ranges["decoder.add"])
    assert weights.arrays.keys() == network.state_dict().keys()


def test_training_can_begin_with_weights_of_another_size(network: MarionetteNetwork, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(network, path)
    other = MarionetteNetwork(replace(network.config, synthesis_cell=4))
    left = begin_with(other, path)
    assert left == [
        "decoder.synthesis.0.weight", "decoder.add.weight", "decoder.add.bias"
    ]  # fmt: skip
    kept = other.state_dict()["decoder.enter.weight"]
    torch.testing.assert_close(kept, network.state_dict()["decoder.enter.weight"].half().float())
    with pytest.raises(WeightsError, match="nothing in"):
        begin_with(torch.nn.Linear(3, 3), path)


@pytest.mark.parametrize("fault", ["missing", "truncated", "foreign"])
def test_unusable_weights_are_named(fault: str, network: MarionetteNetwork, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    if fault == "truncated":
        save_network(network, path)
        path.write_bytes(path.read_bytes()[:5000])
    if fault == "foreign":
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, str(path))
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        load_network(path)
