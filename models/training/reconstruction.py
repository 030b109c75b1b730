"""Runs the network on a training batch: photos and landmarks in, the driver's frame out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.marionette.blocks import warp
from models.marionette.decoder import photo_flow
from models.marionette.network import MarionetteNetwork
from models.mesh_maps import mesh_pyramid
from models.mesh_warp.eyes import with_open_eyes
from models.mesh_warp.picture import FacePlates
from models.training.losses import teach_flow

Picture = npt.NDArray[np.uint8]


class Reenacted(NamedTuple):
    """A reenacted picture and the steps to it that training looks at.

    Attributes:
        picture: ``[B, 3, S, S]`` in -1..1.
        aligned_photo: the reference photo warped by the last flow, nothing added, ``[B, 3, S, S]``.
        flows: the flow of every scale, coarsest first.
    """

    picture: Tensor
    aligned_photo: Tensor
    flows: list[Tensor]


def reconstruct(network: MarionetteNetwork, batch: dict[str, Tensor]) -> Reenacted:
    """Make each sample's driver frame from its photos; see ``ClipSamples`` for the batch's tensors."""
    photos = batch["photos"]
    size = photos.shape[-1]
    resolutions = network.config.resolutions_of(size)
    between = mesh_pyramid(batch["photo_maps"].flatten(0, 1), resolutions[-1:])[0]
    code = network.encode_target(
        photos, batch["photo_rasters"], between.unflatten(0, photos.shape[:2]), batch["present"]
    )
    maps = batch["driver_maps"]
    aligned = network.align(code, batch["driver_raster"], mesh_pyramid(maps, resolutions))
    photo = warp(photos[:, 0], photo_flow(maps, aligned.correction, size))
    drawn = photo + _drawn(photo, batch)
    return Reenacted(network.decoder.synthesise(aligned.u, drawn), photo, aligned.flows)


@torch.no_grad()
def teach(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Optical flow between each sample's driver frame and reference photo, and how sure it is."""
    flow = batch["driver_maps"][:, :2].float().cpu()
    drivers, references = _pixels(batch["driver"]), _pixels(batch["photos"][:, 0])
    taught = [
        teach_flow(driver, reference, mesh.numpy())
        for driver, reference, mesh in zip(drivers, references, flow, strict=True)
    ]
    flows, sure = (torch.stack([torch.from_numpy(item[part]) for item in taught]) for part in (0, 1))
    return flows.to(batch["driver"].device), sure.to(batch["driver"].device)


@torch.no_grad()
def _drawn(photo: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """What drawing eyes and mouth changes about the warped photos, ``[B, 3, S, S]``."""
    size = photo.shape[-1]
    references = _pixels(batch["photos"][:, 0])
    still, shown = (
        batch[name].float().cpu().numpy() * size - 0.5 for name in ("photo_landmarks", "driver_landmarks")
    )
    changes = []
    for index, picture in enumerate(_pixels(photo)):
        drawn = picture.copy()
        plates = FacePlates.of(references[index], still[index, 0])
        plates.draw(drawn, shown[index], with_open_eyes(shown[index], still[index, 0]))
        changes.append(torch.from_numpy((drawn.astype(np.float32) - picture) / 127.5))
    return torch.stack(changes).movedim(-1, 1).to(photo)


def _pixels(pictures: Tensor) -> list[Picture]:
    """Tensors ``[B, 3, S, S]`` in -1..1 as pictures ``[S, S, 3]``."""
    whole = ((pictures.detach().float().movedim(1, -1) + 1) * 127.5).round().clamp(0, 255)
    return [np.ascontiguousarray(picture) for picture in whole.to(torch.uint8).cpu().numpy()]
