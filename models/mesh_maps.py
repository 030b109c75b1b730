"""Splats landmark displacement into smooth maps on a grid: the mesh flow and what goes with it.

A Gaussian in x times a Gaussian in y separates, so the sum over N points is one product of an [h, N] and
an [N, w] matrix for each map: well under a millisecond where the direct sum takes many.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.marionette.blocks import resize
from models.mesh_warp.splats import COARSE, FILL, FINE, STILL


def mesh_maps(driver: Tensor, target: Tensor, canonical: Tensor, size: int) -> Tensor:
    """Maps of the displacement from the driver's to the target's landmarks.

    Args:
        driver: ``[B, N, 2]`` retargeted landmarks in units of the crop (0..1).
        target: ``[B, N, 2]`` the target photo's landmarks, likewise.
        canonical: ``[N, C]`` what else is splatted, with the average face's coordinates C = 3: they say
            *which* part of a face a place is.
        size: cells a side.

    Returns:
        ``[B, 2 + C + 1, size, size]``: mesh flow (x, y) in ``grid_sample`` units, the canonical
        coordinates, and the density of points in 0..1.
    """
    batch, points = driver.shape[:2]
    attributes = torch.cat(
        (
            2.0 * (target - driver),
            canonical.to(driver).expand(batch, points, canonical.shape[1]),
            torch.ones(batch, points, 1, dtype=driver.dtype, device=driver.device),
        ),
        dim=2,
    ).transpose(1, 2)  # [B, A, N]; the last one sums the weights themselves
    centres = (torch.arange(size, dtype=driver.dtype, device=driver.device) + 0.5) / size
    squared = (centres - driver[..., None]).square()  # [B, N, 2, size]

    def splat(width: float) -> Tensor:
        across, down = torch.exp(squared * (-0.5 / width**2)).unbind(2)  # [B, N, size]
        rows = attributes[..., None, :] * down.transpose(1, 2)[:, None]  # [B, A, h, N]
        return (rows.flatten(1, 2) @ across).unflatten(1, (attributes.shape[1], size))

    summed = splat(COARSE)
    coarse = summed[:, :-1] / (summed[:, -1:] + STILL)
    summed = splat(FINE)
    density = summed[:, -1:]
    fine = (summed[:, :-1] + FILL * coarse) / (density + FILL)
    return torch.cat((fine, density / (density + 1.0)), dim=1)


def mesh_pyramid(maps: Tensor, resolutions: Sequence[int]) -> list[Tensor]:
    """Mesh maps ``[B, 6, h, w]`` at each of the resolutions: splatted once, resized for each scale."""
    return [resize(maps, (resolution, resolution)) for resolution in resolutions]
