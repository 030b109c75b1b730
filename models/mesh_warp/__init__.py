"""The geometric generator: warps the target's photo. No weights, always works."""

from models.mesh_warp.generator import MeshWarpGenerator, MeshWarpTarget

__all__ = ["MeshWarpGenerator", "MeshWarpTarget"]
