"""The composed network: it starts as the mesh warp, caches what it may, and learns where it should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.marionette.blocks import resize, warp
from models.marionette.decoder import Aligned, photo_flow
from models.marionette.discriminator import Discriminator
from models.marionette.network import MarionetteNetwork, NetworkConfig, TargetCode

CONFIG = NetworkConfig(size=64, width=8, attention_channels=8)


@pytest.fixture
def network() -> MarionetteNetwork:
    torch.manual_seed(0)
    return MarionetteNetwork(CONFIG).eval()


def test_a_coarser_finest_scale_gives_as_large_a_picture() -> None:
    """And, untrained, the same one."""
    network = MarionetteNetwork(replace(CONFIG, finest=4)).eval()
    assert network.config.resolutions == [16, 8, 4]
    maps = [smooth_maps(1, r) for r in network.config.resolutions]
    photos, rasters = torch.rand(1, 1, 3, 64, 64), torch.rand(1, 1, 3, 64, 64)
    with torch.no_grad():
        code = network.encode_target(photos, rasters, maps[-1][:, None], torch.tensor([[True]]))
        out = network.align(code, torch.rand(1, 3, 32, 32), maps)
        picture = network.decoder.synthesise(out.u, photos[:, 0])
    assert out.u.shape == (1, 8, 16, 16)
    torch.testing.assert_close(picture, photos[:, 0])


def test_only_2_and_4_are_known() -> None:
    with pytest.raises(ValueError, match="finest"):
        replace(CONFIG, finest=3)
    with pytest.raises(ValueError, match="synthesis_cell"):
        replace(CONFIG, synthesis_cell=3)
    with pytest.raises(ValueError, match="driver_scales"):
        replace(CONFIG, driver_scales=4)


@pytest.mark.parametrize("driver_scales", [0, 1, 2, 3])
def test_the_driver_encoder_may_begin_coarser(driver_scales: int) -> None:
    network = MarionetteNetwork(replace(CONFIG, driver_scales=driver_scales)).eval()
    z_x = network.driver_encoder(torch.rand(1, 3, 32, 32))
    assert z_x.shape == (1, 32, 8, 8)  # as the coarsest scale is
    assert len(network.driver_encoder.levels) == (driver_scales or 3) - 1


@pytest.mark.parametrize("cell", [1, 2, 4])
def test_synthesis_in_cells_adds_to_the_pixels_it_saw(cell: int) -> None:
    """Untrained it adds nothing; what it is taught to add at one pixel appears at that pixel."""
    network = MarionetteNetwork(replace(CONFIG, synthesis_cell=cell)).eval()
    u, photo = torch.rand(1, 8, 32, 32), torch.rand(1, 3, 64, 64) - 0.5
    add = network.decoder.add
    with torch.no_grad():
        torch.testing.assert_close(network.decoder.synthesise(u, photo), photo)
        add.bias[1 * cell**2 + cell - 1] = 0.25  # green, top right of every cell
        change = network.decoder.synthesise(u, photo) - photo
    wanted = torch.zeros_like(change)
    wanted[:, 1, ::cell, cell - 1 :: cell] = 0.25
    torch.testing.assert_close(change, wanted)


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
    return network.encode_target(photos, rasters, maps, torch.tensor(present))


def test_untrained_network_is_the_mesh_warp(network: MarionetteNetwork) -> None:
    maps = [smooth_maps(1, r) for r in CONFIG.resolutions]
    photo = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        out = network.align(encode(network, [[True, True]]), torch.rand(1, 3, 32, 32), maps)
        picture = network.decoder.synthesise(out.u, photo)
    for estimated, mesh in zip(out.flows, reversed(maps), strict=True):
        torch.testing.assert_close(estimated, mesh[:, :2])
    torch.testing.assert_close(photo_flow(maps[0], out.correction, 64), resize(maps[0][:, :2], (64, 64)))
    torch.testing.assert_close(picture, photo)


def test_512_comes_from_aligning_a_512_photo(network: MarionetteNetwork) -> None:
    maps = [smooth_maps(1, r) for r in CONFIG.resolutions]
    with torch.no_grad():
        out = network.align(encode(network, [[True]]), torch.rand(1, 3, 32, 32), maps)
        assert network.decoder.synthesise(out.u, torch.rand(1, 3, 128, 128)).shape == (1, 3, 128, 128)
        assert photo_flow(maps[0], out.correction, 128).shape == (1, 2, 128, 128)


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
        together = network.align(code, raster, maps)
        for index in range(2):
            one = slice(index, index + 1)
            alone_code = TargetCode(
                [type(memory)(memory.key[one], memory.value[one]) for memory in code.memories],
                code.mask[one],
                [features[one] for features in code.normalised],
            )
            alone = network.align(alone_code, raster[one], [m[one] for m in maps])
            for of_both, of_one in zip((together.u, together.correction), alone[:2], strict=True):
                torch.testing.assert_close(of_both[one], of_one, atol=1e-3, rtol=1e-3)


def test_every_parameter_learns(network: MarionetteNetwork) -> None:
    """After two steps (the first wakes the zero layers) the gradient reaches every parameter."""
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    wanted = torch.rand(1, 3, 64, 64) * 2 - 1
    maps = [smooth_maps(1, r) for r in CONFIG.resolutions]
    raster = torch.rand(1, 3, 32, 32)
    for _ in range(3):
        optimiser.zero_grad()
        out: Aligned = network.align(encode(network, [[True, True]]), raster, maps)
        photo = warp(wanted.flip(3), photo_flow(maps[0], out.correction, 64))
        (network.decoder.synthesise(out.u, photo) - wanted).abs().mean().backward()
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
