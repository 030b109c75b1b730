"""The composed network: it starts as the mesh warp, caches what it may, and learns where it should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.marionette.blocks import resize, warp
from models.marionette.discriminator import Discriminator
from models.marionette.network import MarionetteNetwork, NetworkConfig, TargetCode

CONFIG = NetworkConfig(size=64, width=8, attention_channels=8)


@pytest.fixture
def network() -> MarionetteNetwork:
    torch.manual_seed(0)
    return MarionetteNetwork(CONFIG).eval()


def smooth_maps(batch: int, resolution: int, seed: int = 3) -> Tensor:
    """Mesh maps such as landmarks give: smooth, a flow of about a tenth of the picture."""
    coarse = 0.1 * torch.randn(batch, 6, 4, 4, generator=torch.Generator().manual_seed(seed))
    return resize(coarse, (resolution, resolution))


def encode(network: MarionetteNetwork, present: list[list[bool]], seed: int = 5) -> TargetCode:
    generator = torch.Generator().manual_seed(seed)
    batch, count = len(present), len(present[0])
    photos = torch.rand(batch, count, 3, 64, 64, generator=generator) * 2 - 1
    rasters = torch.rand(batch, count, 3, 64, 64, generator=generator)
    maps = smooth_maps(batch * count, CONFIG.resolutions[-1]).unflatten(0, (batch, count)).clone()
    maps[:, 0, :2] = 0  # the reference is in its own pose
    return network.encode_target(photos, rasters, maps, torch.tensor(present), photos[:, 0])


def test_untrained_network_is_the_mesh_warp(network: MarionetteNetwork) -> None:
    code = encode(network, [[True, True]])
    maps = [smooth_maps(1, r) for r in CONFIG.resolutions]
    with torch.no_grad():
        out = network.reenact(code, torch.rand(1, 3, 32, 32), maps)
    for estimated, mesh in zip(out.flows, reversed(maps), strict=True):
        torch.testing.assert_close(estimated, mesh[:, :2])
    torch.testing.assert_close(out.picture, warp(code.photo, resize(maps[0][:, :2], (64, 64))))


def test_512_comes_from_aligning_a_512_photo(network: MarionetteNetwork) -> None:
    code = encode(network, [[True]])._replace(photo=torch.rand(1, 3, 128, 128))
    maps = [smooth_maps(1, r) for r in CONFIG.resolutions]
    with torch.no_grad():
        assert network.reenact(code, torch.rand(1, 3, 32, 32), maps).picture.shape == (1, 3, 128, 128)


def test_targets_of_a_batch_do_not_touch_each_other(network: MarionetteNetwork) -> None:
    """Different targets with different numbers of photos in one batch give what each gives alone."""
    present = [[True, True], [True, False]]
    code = encode(network, present)
    maps = [smooth_maps(2, r) for r in CONFIG.resolutions]
    raster = torch.rand(2, 3, 32, 32)
    for parameter in network.parameters():  # an untrained network ignores most of itself
        torch.nn.init.normal_(parameter, std=0.1)
    code = encode(network, present)
    with torch.no_grad():
        together = network.reenact(code, raster, maps).picture
        for index in range(2):
            one = slice(index, index + 1)
            alone_code = TargetCode(
                [type(memory)(memory.key[one], memory.value[one]) for memory in code.memories],
                code.mask[one],
                [features[one] for features in code.normalised],
                code.photo[one],
            )
            alone = network.reenact(alone_code, raster[one], [m[one] for m in maps]).picture
            torch.testing.assert_close(together[one], alone, atol=1e-4, rtol=1e-4)


def test_every_parameter_learns(network: MarionetteNetwork) -> None:
    """After two steps (the first wakes the zero layers) the gradient reaches every parameter."""
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    wanted = torch.rand(1, 3, 64, 64) * 2 - 1
    maps = [smooth_maps(1, r) for r in CONFIG.resolutions]
    raster = torch.rand(1, 3, 32, 32)
    for _ in range(3):
        optimiser.zero_grad()
        out = network.reenact(encode(network, [[True, True]]), raster, maps)
        (out.picture - wanted).abs().mean().backward()
        optimiser.step()
    silent = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert silent == []


def test_discriminator_scores_patches_and_gives_features() -> None:
    discriminator = Discriminator(3, [8, 16, 16])
    score, features = discriminator(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert score.shape == (2, 1, 8, 8)
    assert [feature.shape[1:] for feature in features] == [(8, 32, 32), (16, 16, 16), (16, 8, 8)]
