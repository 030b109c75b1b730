"""The landmark transformer: FIG. 6 and Eq. 6-8 against slow transcriptions, and the shipped weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from skimage.data import astronaut

from models.landmarks.aligned import aligned_face
from models.landmarks.basis import semantic_partition
from models.landmarks.detector import FaceDetector
from models.landmarks.geometry import Pose, denormalise, normalise
from models.landmarks.identity import WEIGHTS, DriverIdentity, FewShot, few_shot
from models.landmarks.topology import canonical_face
from models.landmarks.transformer import (
    LandmarkTransformer,
    TransformerConfig,
    load_transformer,
    save_transformer,
)
from models.landmarks.transformer_numpy import load_numpy_transformers


def transformer(features: int = 0, seed: int = 0, channels: tuple[int, ...] = (8, 8)) -> LandmarkTransformer:
    torch.manual_seed(seed)
    points = 478
    basis, _ = torch.linalg.qr(torch.randn(points * 3, 6))
    model = LandmarkTransformer(
        TransformerConfig(coefficients=6, hidden=16, image_features=features, channels=channels),
        torch.from_numpy(canonical_face()),
        basis.T,
        torch.randn(6, points * 3) * 0.01,
        scale=0.2,
        lambda_exp=1.3,
    )
    torch.nn.init.normal_(model.mlp[-1].weight)
    return model.eval()


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray]:
    with FaceDetector(static=True) as detector:
        return astronaut(), detector.detect(astronaut())[0]


def test_equations_6_7_8_written_out() -> None:
    model = transformer()
    frames = torch.from_numpy(canonical_face()).float() + 0.1 * torch.randn(3, 478, 3)
    with torch.no_grad():
        alpha = model(frames)
        expression, identity = model.expression(alpha), model.identity(frames, alpha)
    average = model.average.view(478, 3)
    for frame in range(3):
        slow = 1.3 * sum(alpha[frame, k] * model.basis[k] for k in range(6)).view(478, 3)  # Eq. 7
        torch.testing.assert_close(expression[frame], slow, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(identity[frame], frames[frame] - average - slow, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        together = model.target_identity(frames)
    torch.testing.assert_close(together, identity.mean(0))
    moved = model.transfer(together, expression[1])  # Eq. 8
    torch.testing.assert_close(moved, average + together + expression[1])
    # parts of one frame put together again are that frame
    torch.testing.assert_close(model.transfer(identity[2], expression[2]), frames[2])


def test_untrained_network_is_the_linear_estimate() -> None:
    model = transformer()
    torch.nn.init.zeros_(model.mlp[-1].weight)
    torch.nn.init.zeros_(model.mlp[-1].bias)
    frames = torch.randn(2, 478, 3)
    with torch.no_grad():
        torch.testing.assert_close(model(frames), (frames.flatten(1) - model.average) @ model.prior.T)


def test_the_image_matters_only_where_it_is_used() -> None:
    with_image, without = transformer(features=4), transformer()
    frames = torch.randn(2, 478, 3)
    dark, light = torch.zeros(2, 72, 72, 3, dtype=torch.uint8), torch.full((2, 72, 72, 3), 200).byte()
    with torch.no_grad():
        assert not torch.equal(with_image(frames, dark), with_image(frames, light))
    with pytest.raises(ValueError, match="faces"):
        with_image(frames)
    with pytest.raises(ValueError, match="faces"):
        without(frames, dark)


def test_saved_weights_load_again(tmp_path: Path) -> None:
    image, landmarks = transformer(features=4), transformer(seed=0)
    path = tmp_path / "weights.safetensors"
    save_transformer(path, image, landmarks, {"people": 3})
    loaded_image, loaded = load_transformer(path)
    frames = torch.from_numpy(canonical_face()).float() + 0.1 * torch.randn(2, 478, 3)
    with torch.no_grad():
        torch.testing.assert_close(loaded(frames), landmarks(frames), atol=2e-2, rtol=1e-2)
    assert loaded_image.lambda_exp == 1.3
    assert loaded_image.config.image_features == 4
    assert path.stat().st_size < 400_000
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(ValueError, match="truncated"):
        load_transformer(path)
    save_file({"a": np.zeros(2)}, path)
    with pytest.raises(ValueError, match="no landmark transformer"):
        load_transformer(path)


def test_forward_pass_without_torch_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    for features, channels in ((4, (8, 8)), (5, (4, 8, 12, 16))):
        image = transformer(features=features, channels=channels)
        save_transformer(path, image, transformer(), {})
        torch_pair, numpy_pair = load_transformer(path), load_numpy_transformers(path)
        random = np.random.default_rng(0)
        frame = (canonical_face() + 0.1 * random.normal(size=(478, 3))).astype(np.float32)
        face = random.integers(0, 255, (72, 72, 3), np.uint8)
        tensor = torch.from_numpy(frame)[None]
        with torch.no_grad():
            with_image = torch_pair[0].expression(torch_pair[0](tensor, torch.from_numpy(face)[None]))[0]
            without = torch_pair[1].expression(torch_pair[1](tensor))[0]
        np.testing.assert_allclose(numpy_pair[0].expression(frame, face), with_image.numpy(), atol=1e-4)
        np.testing.assert_allclose(numpy_pair[1].expression(frame), without.numpy(), atol=1e-4)
        with pytest.raises(ValueError, match="face"):
            numpy_pair[0].expression(frame)
        with pytest.raises(ValueError, match="face"):
            numpy_pair[1].expression(frame, face)


def test_the_call_needs_no_torch() -> None:
    code = (
        "import sys; from models.landmarks.identity import few_shot; import numpy as np;"
        "f = few_shot(); n = f.driver(f.average); f.target([np.zeros((99, 99, 3), np.uint8)], [n * 20 + 50]);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fast_driver_path_is_the_network(tmp_path: Path) -> None:
    model = transformer(seed=0)
    path = tmp_path / "weights.safetensors"
    save_transformer(path, transformer(features=4), model, {})
    estimate, (_, loaded) = FewShot(path), load_transformer(path)
    frame = canonical_face() + 0.1 * np.random.default_rng(0).normal(size=(478, 3))
    with torch.no_grad():
        tensor = torch.from_numpy(frame).float()[None]
        slow = loaded.identity(tensor, loaded(tensor))[0].numpy() + estimate.average
    np.testing.assert_allclose(estimate.driver(frame), slow, atol=1e-4)


def test_shipped_weights_know_an_open_mouth_from_a_long_face(face: tuple[np.ndarray, np.ndarray]) -> None:
    image, landmarks = load_transformer()
    assert WEIGHTS.stat().st_size < 4_000_000
    torch.testing.assert_close(image.basis @ image.basis.T, torch.eye(len(image.basis)), atol=1e-4, rtol=0)
    neutral = few_shot().driver(canonical_face())
    assert np.linalg.norm(neutral - canonical_face()) < 1.5
    start = torch.from_numpy(canonical_face()).float()

    def recognised(change: torch.Tensor) -> float:
        """Share of a change of the face that is taken for expression."""
        with torch.no_grad():
            both = landmarks.expression(landmarks(torch.stack([start + change, start])))
        return float(((both[0] - both[1]) * change).sum() / (change**2).sum())

    # what mouths do is taken for expression, what makes a face wider or longer is taken for identity
    lips = torch.from_numpy(semantic_partition()["mouth"])
    vectors = image.basis.view(-1, 478, 3)
    moves = [vector for vector in vectors if vector[lips].norm() > 0.99][:3]
    opening = np.mean([recognised(0.3 * move) for move in moves])
    proportions = [torch.tensor([0.06, 0.0, 0.0]), torch.tensor([0.0, 0.06, 0.0])]
    growing = np.mean([recognised(start * share) for share in proportions])
    assert opening > 2 * growing
    photo, points = face
    target = few_shot().target([photo, photo], [points, points])
    again = few_shot().target([photo], [points])
    np.testing.assert_allclose(target, again, atol=1e-5)
    normalised = normalise(points)[0]
    # the astronaut smiles: her neutral face has the lips less wide apart
    assert np.linalg.norm(target[13] - target[14]) < np.linalg.norm(normalised[13] - normalised[14])
    assert np.linalg.norm(target[61] - target[291]) < np.linalg.norm(normalised[61] - normalised[291])


def test_target_needs_as_many_landmarks_as_photos() -> None:
    with pytest.raises(ValueError, match="photos"):
        few_shot().target([], [])
    with pytest.raises(ValueError, match="photos"):
        few_shot().target([np.zeros((8, 8, 3), np.uint8)], [])


def test_driver_identity_goes_from_few_shot_to_the_mean() -> None:
    estimate = few_shot()
    random = np.random.default_rng(1)
    who = canonical_face() + 0.02 * random.normal(size=(478, 3))
    basis = load_transformer()[1].basis.numpy().reshape(-1, 478, 3)[:5]
    frames = who + np.einsum("tk,knc->tnc", random.normal(0, 0.3, (400, 5)), basis)
    frames -= frames.mean(0) - who
    driver = DriverIdentity(estimate, prior_s=2.0)
    first = driver.update(frames[0], 0.04)
    few = estimate.driver(frames[0])
    np.testing.assert_allclose(first, few + 0.04 / 2.04 * (frames[0] - few), atol=1e-9)
    for frame in frames[1:]:
        last = driver.update(frame, 0.04)
    assert driver.seconds == pytest.approx(16.0)
    mean_few = np.mean([estimate.driver(frame) for frame in frames], axis=0)
    np.testing.assert_allclose(last, (2.0 * mean_few + 16.0 * who) / 18.0, atol=1e-6)
    assert np.linalg.norm(last - who) < np.linalg.norm(first - who)
    driver.reset()
    assert driver.seconds == 0
    np.testing.assert_allclose(driver.update(frames[0], 0.04), first)
    with pytest.raises(ValueError, match="positive"):
        driver.update(frames[0], 0.0)
    with pytest.raises(ValueError, match="positive"):
        DriverIdentity(estimate, prior_s=0.0)


def test_aligned_faces_do_not_see_roll_scale_and_place(face: tuple[np.ndarray, np.ndarray]) -> None:
    import cv2

    photo, points = face
    upright = aligned_face(photo, normalise(points)[1], 72)
    angle, scale = np.radians(50), 1.4
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = points[:, :2].mean(0)
    transform = np.column_stack([turn, np.array([400.0, 400.0]) - turn @ centre])
    turned = cv2.warpAffine(photo, transform, (800, 800), flags=cv2.INTER_LINEAR)
    moved = np.column_stack([points[:, :2] @ turn.T + transform[:, 2], points[:, 2] * scale])
    again = aligned_face(turned, normalise(moved)[1], 72)
    inner = slice(14, 58)
    difference = np.abs(upright[inner, inner].astype(float) - again[inner, inner])
    assert difference.mean() < 6
    pose = normalise(points)[1]
    middle = denormalise(np.zeros((1, 3)), Pose(pose.scale, pose.rotation, pose.translation))[0, :2]
    colour = photo[round(middle[1]), round(middle[0])].astype(float)
    assert np.abs(upright[36, 36] - colour).max() < 60
