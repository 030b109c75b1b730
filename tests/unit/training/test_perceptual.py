"""The trunk of the perceptual loss: from the registry's file and from torchvision's, and what is neither."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
import torch
from safetensors.torch import save_file

from models.training.perceptual import WINDOW, PerceptualTrunk, perceptual_losses

CHANNELS = [(3, 4), (4, 4), (4, 6), (6, 6), (6, 8), (8, 8), (8, 8)]
LAYERS = (0, 2, 5, 7, 10, 12, 14)


@pytest.fixture(scope="module")
def weights() -> list[tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(5)
    return [
        (torch.randn(after, before, 3, 3, generator=random) * 0.2, torch.randn(after, generator=random))
        for before, after in CHANNELS
    ]


def torchvision_state(weights: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    state = {"classifier.0.weight": torch.zeros(1)}
    for layer, (kernel, bias) in zip(LAYERS, weights, strict=True):
        state |= {f"features.{layer}.weight": kernel, f"features.{layer}.bias": bias}
    return state


def write_edge_tuned(path: Path, weights: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    rest = iter(weights)
    with h5py.File(path, "w") as file:
        for block, count in enumerate((2, 2, 3), start=1):
            for index in range(count):
                kernel, bias = next(rest)
                place = f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars"
                file[f"{place}/0"] = kernel.permute(2, 3, 1, 0).numpy()
                file[f"{place}/1"] = bias.numpy()


def test_both_kinds_of_file_give_their_features(
    tmp_path: Path, weights: list[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    picture = torch.rand(2, 3, 16, 16) * 2 - 1
    write_edge_tuned(tmp_path / "hed.h5", weights)
    torch.save(torchvision_state(weights), tmp_path / "vgg.pth")
    save_file(torchvision_state(weights), str(tmp_path / "vgg.safetensors"))
    levels = (picture + 1) * 127.5
    centred = {
        "hed.h5": levels.flip(1) - torch.tensor([104.007, 116.669, 122.679])[:, None, None],
        "vgg.pth": (levels / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        / torch.tensor([0.229, 0.224, 0.225])[:, None, None],
    }
    centred["vgg.safetensors"] = centred["vgg.pth"]
    for name, x in centred.items():
        features = PerceptualTrunk(tmp_path / name)(picture)
        assert [tuple(part.shape) for part in features] == [(2, 4, 16, 16), (2, 6, 8, 8), (2, 8, 4, 4)]
        for index, (kernel, bias) in enumerate(weights[:2]):
            x = torch.relu(torch.nn.functional.conv2d(x, kernel, bias, padding=1))
            assert index == 0 or torch.allclose(features[0], x, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", ["a.h5", "a.pth", "a.safetensors"])
def test_another_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(ValueError, match=name):  # there is none
        PerceptualTrunk(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=name):
        PerceptualTrunk(path)
    other = {"features.0.weight": torch.zeros(1)}
    if path.suffix == ".h5":
        h5py.File(path, "w").close()
    elif path.suffix == ".pth":
        torch.save(other, path)
    else:
        save_file(other, str(path))
    with pytest.raises(ValueError, match=name):
        PerceptualTrunk(path)


def test_fine_detail_of_the_face_counts_and_elsewhere_only_what_is_coarse() -> None:
    """A pattern of single pixels vanishes at half size: it is seen in the face's window alone."""
    landmarks = torch.full((2, 478, 2), 0.3125)
    weight, wanted = torch.ones(2, 1, 256, 256), torch.full((2, 3, 256, 256), 0.2)
    fine = torch.full((256, 256), 0.1)
    fine[::2, ::2] = fine[1::2, 1::2] = -0.1
    start = round(0.3125 * 256 - WINDOW / 2)
    face, outside = wanted.clone(), wanted.clone()
    face[..., start : start + WINDOW, start : start + WINDOW] += fine[:WINDOW, :WINDOW]
    outside[..., start + WINDOW :, :] += fine[start + WINDOW :]

    def seen(picture: torch.Tensor) -> list[float]:
        both = perceptual_losses(lambda x: [x], picture, wanted, weight, landmarks)  # type: ignore[arg-type]
        return [float(part.mean()) for part in both]

    assert seen(wanted) == [0.0, 0.0]
    assert seen(face) == pytest.approx([0.0, 0.5], abs=1e-5)
    assert seen(outside) == pytest.approx([0.0, 0.0], abs=1e-5)
    assert seen(wanted + 0.1) == pytest.approx([0.5, 0.5], abs=1e-5)
