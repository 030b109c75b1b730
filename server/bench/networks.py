"""The generators that benchmarks measure, by name: the mesh warp and the shipped network in each runtime."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from server.generators import SHIPPED

if TYPE_CHECKING:
    from models.generator import Generator
    from models.marionette.openvino_runtime import Precision

__all__ = [
    "Name",
    "dotted",
    "gflops_of_a_frame",
    "installed",
    "make_generator",
    "mesh_warp",
    "openvino_bf16",
    "openvino_f32",
    "openvino_int8",
    "torch_f32",
    "usual",
]


class Name(StrEnum):
    """Generators; a network goes by the name of its runtime."""

    MESH_WARP = "mesh-warp"
    TORCH = "torch"
    OPENVINO_F32 = "openvino-f32"
    OPENVINO_BF16 = "openvino-bf16"
    OPENVINO_INT8 = "openvino-int8"


def make_generator(name: Name, size: int, threads: int = 1) -> Generator:
    """A generator of pictures of 256 or 512 pixels a side.

    Args:
        threads: of OpenVINO; torch's are a setting of its process.

    Raises:
        ImportError: its runtime is not installed.
    """
    match name:
        case Name.MESH_WARP:
            return mesh_warp(size)
        case Name.TORCH:
            return torch_f32(size)
        case Name.OPENVINO_F32:
            return _openvino("f32", size, threads)
        case Name.OPENVINO_BF16:
            return _openvino("bf16", size, threads)
        case Name.OPENVINO_INT8:
            return _openvino("int8", size, threads)


def dotted(name: Name) -> str:
    """The function that makes a generator, as :func:`server.generators.load_generator` takes it."""
    function = "torch_f32" if name is Name.TORCH else name.replace("-", "_")
    return f"{__name__}:{function}"


def mesh_warp(size: int) -> Generator:
    """The geometric generator."""
    from models.mesh_warp import MeshWarpGenerator

    return MeshWarpGenerator(size)


def torch_f32(size: int) -> Generator:
    """The shipped network in torch, single precision."""
    from models.marionette.generator import MarionetteGenerator
    from models.marionette.weights import load_network

    return MarionetteGenerator(load_network(SHIPPED), size)


def openvino_f32(size: int) -> Generator:
    """The network in OpenVINO, single precision."""
    return _openvino("f32", size, 1)


def openvino_bf16(size: int) -> Generator:
    """The network in OpenVINO, bfloat16."""
    return _openvino("bf16", size, 1)


def openvino_int8(size: int) -> Generator:
    """The network in OpenVINO, its large convolutions in 8 bits."""
    return _openvino("int8", size, 1)


def _openvino(precision: Precision, size: int, threads: int) -> Generator:
    from models.marionette.generator import MarionetteGenerator
    from models.marionette.openvino_runtime import OpenVinoRuntime
    from models.marionette.weights import read_weights

    return MarionetteGenerator(OpenVinoRuntime(read_weights(SHIPPED), precision, threads=threads), size)


@cache
def gflops_of_a_frame() -> float:
    """GFLOPs of a frame (a multiplication and an addition are two), counted by torch.

    Of the shipped network's convolutions and matrix products; what draws, warps and converts is not in it.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from models.marionette.weights import load_network

    network = load_network(SHIPPED)
    config = network.config
    size = config.size
    photos, maps = torch.zeros(1, 1, 3, size, size), [torch.zeros(1, 6, r, r) for r in config.resolutions]
    with torch.inference_mode():
        code = network.encode_target(photos, photos, maps[-1][:, None], torch.ones(1, 1, dtype=torch.bool))
        with FlopCounterMode(display=False) as counter:
            aligned = network.align(code, torch.zeros(1, 3, size // 2, size // 2), maps)
            network.decoder.synthesise(aligned.u, photos[:, 0])
    return float(counter.get_total_flops()) / 1e9


def installed(names: Sequence[Name]) -> list[Name]:
    """Those of the names whose libraries are here."""
    from importlib.util import find_spec

    openvino = find_spec("openvino") is not None
    return [name for name in names if openvino or not name.startswith("openvino")]


def usual() -> Name:
    """What generates in calls on this machine, unless a service's self-test finds it too slow."""
    if Name.OPENVINO_F32 not in installed(list(Name)):
        return Name.MESH_WARP
    from models.marionette.openvino_runtime import bf16_is_fast, int8_is_fast

    if int8_is_fast():
        return Name.OPENVINO_INT8
    return Name.OPENVINO_BF16 if bf16_is_fast() else Name.OPENVINO_F32
