"""Compiles what would else be compiled at the first start: ``python -m models.precompile``."""

from __future__ import annotations

import numpy as np

from models.generator import TARGET_CROP
from models.landmarks.topology import canonical_face
from models.mesh_maps import mesh_maps
from models.mesh_warp import MeshWarpGenerator
from models.mesh_warp.mouth import keep_open_mouth

__all__ = ["precompile"]


def precompile() -> None:
    """Generate one picture of the average face, by everything that is compiled."""
    face = canonical_face()
    landmarks = (face * (0.2 * TARGET_CROP) + [0.5 * TARGET_CROP, 0.5 * TARGET_CROP, 0.0]).astype(np.float32)
    photo = np.full((TARGET_CROP, TARGET_CROP, 3), 128, np.uint8)
    generator = MeshWarpGenerator(256)
    target = generator.encode_target(photo[None], landmarks[None])
    generator.generate([target], landmarks[None])
    mesh_maps(target.points, target.points, 256)
    keep_open_mouth(target.photo.copy(), target.photo, target.points)


if __name__ == "__main__":
    precompile()
