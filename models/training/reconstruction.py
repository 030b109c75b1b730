"""Runs the network on a training batch: from landmarks to mesh maps, from photos to the driver's frame."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from models.landmarks.geometry import canonical_face
from models.marionette.decoder import Reenacted
from models.marionette.network import MarionetteNetwork
from models.mesh_maps import mesh_maps, mesh_pyramid
from models.training.losses import teach_flow


@cache
def _canonical(device: torch.device) -> Tensor:
    return torch.as_tensor(canonical_face(), dtype=torch.float32, device=device)


def reconstruct(network: MarionetteNetwork, batch: dict[str, Tensor]) -> Reenacted:
    """Make each sample's driver frame from its photos; see ``ClipSamples`` for the batch's tensors."""
    photos, present = batch["photos"], batch["present"]
    points = batch["photo_landmarks"]
    batch_size, count, _, size = photos.shape[:4]
    canonical = _canonical(photos.device)
    reference = points[:, :1].expand(-1, count, -1, -1)
    scales = network.config.scales
    coarsest = size >> scales
    between = mesh_maps(reference.flatten(0, 1), points.flatten(0, 1), canonical, coarsest)
    code = network.encode_target(
        photos, batch["photo_rasters"], between.unflatten(0, (batch_size, count)), present, photos[:, 0]
    )
    maps = mesh_maps(batch["driver_landmarks"], points[:, 0], canonical, size // 4)
    return network.reenact(
        code, batch["driver_raster"], mesh_pyramid(maps, [size >> (s + 1) for s in range(scales)])
    )


@torch.no_grad()
def teach(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Optical flow between each sample's driver frame and reference photo, and how sure it is."""
    size = batch["driver"].shape[-1]
    device = batch["driver"].device
    flow = mesh_maps(batch["driver_landmarks"], batch["photo_landmarks"][:, 0], _canonical(device), size // 4)

    def pixels(pictures: Tensor) -> Tensor:
        return ((pictures.movedim(1, -1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()

    drivers, references = pixels(batch["driver"]), pixels(batch["photos"][:, 0])
    taught = [
        teach_flow(driver.numpy(), reference.numpy(), mesh.numpy())
        for driver, reference, mesh in zip(drivers, references, flow[:, :2].float().cpu(), strict=True)
    ]
    flows, sure = (torch.stack([torch.from_numpy(item[part]) for item in taught]) for part in (0, 1))
    return flows.to(device), sure.to(device)
