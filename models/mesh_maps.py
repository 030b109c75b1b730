"""What the network is told of the landmarks' motion: the mesh flow, and which part of the face is where."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from models.landmarks.topology import canonical_face
from models.mesh_warp.eyes import with_open_eyes
from models.mesh_warp.flow import FLOW_SIZE, face_flow
from models.mesh_warp.splats import COARSE, FINE, Splats, filled

if TYPE_CHECKING:
    from torch import Tensor

Float32 = npt.NDArray[np.float32]

MAPS_SIZE: Final = FLOW_SIZE


def mesh_maps(
    photo: Float32,
    shown: Float32,
    size: int,
    opened: Float32 | None = None,
    skull: Float32 | None = None,
) -> Float32:
    """Maps of how a photo's face has to move.

    The flow is the mesh warp's own, so a network that corrects it starts from the mesh warp. Eyes are left
    as they are in the photo: they are drawn afterwards.

    Args:
        photo, shown: landmarks ``[478, 3]`` of the photo and as they are to be shown, in pixels of a picture
            of ``size`` pixels a side.
        size: of the picture.
        opened: what :func:`models.mesh_warp.eyes.with_open_eyes` gave for them, where it is at hand.
        skull: what :func:`models.mesh_warp.flow.skull_points` gave for the photo, likewise.

    Returns:
        ``[6, MAPS_SIZE, MAPS_SIZE]``: mesh flow (x, y) in ``grid_sample`` units, the average face's
        coordinates at each place of the shown face, and the density of landmarks in 0..1.
    """
    flow = face_flow(photo, with_open_eyes(shown, photo) if opened is None else opened, size, skull)
    splats = Splats(((shown[:, :2] + 0.5) / size).astype(np.float32), MAPS_SIZE)
    laid = splats.laid(_attributes())
    fine = splats.blurred(laid, FINE)
    where = filled(splats.blurred(laid, COARSE), fine)
    maps = np.empty((6, MAPS_SIZE, MAPS_SIZE), np.float32)
    np.multiply(flow.transpose(2, 0, 1), np.float32(2.0), out=maps[:2])
    maps[2:5] = where.transpose(2, 0, 1)
    np.divide(fine[..., 3], fine[..., 3] + np.float32(1.0), out=maps[5])
    return maps


@cache
def _attributes() -> Float32:
    """``[478, 4]``: coordinates of the average face, and ones to sum the weights themselves."""
    face = canonical_face()
    return np.concatenate([face, np.ones((len(face), 1))], axis=1).astype(np.float32)


def mesh_pyramid(maps: Tensor, resolutions: Sequence[int]) -> list[Tensor]:
    """Mesh maps ``[B, 6, h, w]`` at each of the resolutions: splatted once, resized for each scale."""
    from models.marionette.blocks import resize  # torch, which loads slowly and is not always needed

    return [resize(maps, (resolution, resolution)) for resolution in resolutions]
