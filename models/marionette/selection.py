"""Which runtime computes a network on this machine: the quickest one whose pictures are right."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal, cast

import cv2
import numpy as np

from models.generator import TARGET_CROP, Generator, Picture
from models.landmarks.raster import draw_landmarks
from models.landmarks.topology import LIP_INNER_LOWER, canonical_face
from models.marionette.runtime import Float32, Runtime
from models.marionette.weights import NetworkWeights
from models.mesh_maps import MAPS_SIZE

if TYPE_CHECKING:
    from models.marionette.openvino_runtime import Precision
    from models.marionette.torch_runtime import TorchRuntime

__all__ = ["Choice", "RuntimeName", "has_cuda", "make_generator", "make_runtime", "select_runtime"]

logger = logging.getLogger(__name__)

RuntimeName = Literal["cuda", "openvino-int8", "openvino-bf16", "openvino-f32", "torch"]

_PRECISIONS: Final[dict[RuntimeName, Precision]] = {
    "openvino-int8": "int8",
    "openvino-bf16": "bf16",
    "openvino-f32": "f32",
}

#: How far a runtime's pictures may be from single precision, in 255ths: mean and largest.
_MEAN_OFF, _MOST_OFF = 0.75, 16
#: How far frames drawn on a device may be from OpenCV's, in 255ths on average.
_DRAWN_OFF: Final = 1.0
_ROUNDS: Final = 8


@dataclass(frozen=True)
class Choice:
    """A runtime that passed the self-test.

    Attributes:
        name: for :func:`make_runtime`.
        frame_s: what its part of a frame takes; processor time on a CPU, which other programs that run
            meanwhile change little.
        runtime: itself, loaded.
    """

    name: RuntimeName
    frame_s: float
    runtime: Runtime


def has_cuda() -> bool:
    """Whether a CUDA driver finds a device; asks the driver, since loading torch takes seconds."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except OSError:
        return False


def make_runtime(name: RuntimeName, weights: NetworkWeights) -> Runtime:
    """The runtime of that name, loaded.

    Raises:
        ImportError: its library is not installed.
        RuntimeError, KeyError: it cannot compute this network, or the parameters are not this network's.
    """
    if name in _PRECISIONS:
        from models.marionette.openvino_runtime import OpenVinoRuntime

        return OpenVinoRuntime(weights, _PRECISIONS[name])
    import torch

    from models.marionette.torch_runtime import TorchRuntime
    from models.marionette.weights import network_of

    network = network_of(weights)
    if name == "cuda":
        return TorchRuntime(network, device="cuda", precision=torch.float16)
    return TorchRuntime(network)


def select_runtime(weights: NetworkWeights) -> Choice:
    """The quickest runtime whose pictures are right: a GPU's, where there is one; OpenVINO; torch.

    Each makes a few pictures, which also loads what a first frame would wait for, and these are compared
    with single precision's. On a CPU with OpenVINO that is OpenVINO's own, which tests compare with torch's:
    to load torch for it would take longer than all the rest.

    Raises:
        RuntimeError: none works; the log says why.
    """
    reference: Choice | None = None
    wanted: Picture | None = None
    singles: tuple[RuntimeName, ...] = ("openvino-f32", "torch")
    for name in singles:
        if (tried := _tried(name, weights)) is not None:
            reference, wanted = tried
            break
    if reference is None or wanted is None:
        raise RuntimeError("no runtime computes the network")
    candidates: list[RuntimeName] = []
    if has_cuda():
        candidates.append("cuda")
    elif reference.name == "openvino-f32":
        candidates += _faster(weights)
    best = reference
    for name in candidates:
        tried = _tried(name, weights)
        if tried is not None and _right(name, tried[1], wanted) and tried[0].frame_s < best.frame_s:
            best = tried[0]
            break  # to try a slower one as well would only take time
    logger.info("%s computes the network: %.1f ms a frame", best.name, 1e3 * best.frame_s)
    return best


def make_generator(runtime: Runtime, size: int) -> Generator:
    """The generator of pictures of 256 or 512 pixels a side around a runtime.

    On a GPU all of a frame is made there, if that works and gives the pictures of the path on which OpenCV
    draws. A CPU is quicker with the latter.
    """
    from models.marionette.generator import MarionetteGenerator

    plain = MarionetteGenerator(runtime, size)
    if not _has_device(runtime):
        return plain
    try:
        from models.marionette.device_generator import DeviceGenerator

        whole = DeviceGenerator(cast("TorchRuntime", runtime), size)
        off = np.abs(_example_frame(whole).astype(int) - _example_frame(plain))
    except Exception:
        logger.warning("Frames cannot be drawn on the GPU; the processor draws them", exc_info=True)
        return plain
    if off.mean() > _DRAWN_OFF:
        logger.warning("Frames drawn on the GPU are off by %.2f; the processor draws them", off.mean())
        return plain
    return whole


def _has_device(runtime: Runtime) -> bool:
    device = getattr(runtime, "device", None)
    return device is not None and device.type != "cpu"


def _example_frame(generator: Generator) -> Picture:
    """An average face that speaks, on a smooth photo."""
    random = np.random.default_rng(0)
    photo = cv2.resize(random.integers(0, 255, (12, 12, 3), np.uint8), (TARGET_CROP, TARGET_CROP))
    still = (canonical_face() * 85.0 + TARGET_CROP / 2).astype(np.float32)
    shown = still + np.float32(6)
    shown[LIP_INNER_LOWER[1:-1], 1] += 14
    target = generator.encode_target(np.asarray(photo, np.uint8)[None], still[None])
    return generator.generate([target], shown[None])


def _faster(weights: NetworkWeights) -> list[RuntimeName]:
    """What this CPU has units for beside single precision, the quickest first."""
    from models.marionette.openvino_runtime import bf16_is_fast, int8_is_fast

    names: list[RuntimeName] = []
    if weights.ranges and int8_is_fast():
        names.append("openvino-int8")
    if bf16_is_fast():
        names.append("openvino-bf16")
    return names


def _right(name: str, given: Picture, wanted: Picture) -> bool:
    off = np.abs(given.astype(int) - wanted)
    if off.mean() <= _MEAN_OFF and off.max() <= _MOST_OFF:
        return True
    logger.warning("%s is not used: its pictures are off by %.2f (%d at most)", name, off.mean(), off.max())
    return False


def _tried(name: RuntimeName, weights: NetworkWeights) -> tuple[Choice, Picture] | None:
    """A runtime after the self-test, and its picture; None where it does not work."""
    if name.startswith("openvino") and find_spec("openvino") is None:
        return None
    try:
        runtime = make_runtime(name, weights)
        picture, frame_s = _trial(runtime, time.perf_counter if name == "cuda" else time.process_time)
    except Exception:
        logger.warning("%s cannot compute the generator's network", name, exc_info=True)
        return None
    return Choice(name, frame_s, runtime), picture


def _trial(runtime: Runtime, clock: Callable[[], float]) -> tuple[Picture, float]:
    """A picture of an example, and the least time that the network's part of it took."""
    photo, raster, maps = _example(runtime.config.size)
    code = runtime.encode(photo, raster, np.zeros_like(maps))
    driver = np.ascontiguousarray(raster[:, ::2, ::2])
    best = float("inf")
    picture = photo
    for _ in range(_ROUNDS):
        began = clock()
        aligned, _ = runtime.align([code], driver, maps)
        picture = runtime.synthesise(aligned, photo)
        best = min(best, clock() - began)
    return picture, best


def _example(size: int) -> tuple[Picture, Picture, Float32]:
    """A smooth photo, an average face drawn, a flow that grows to the right: what a network can be asked."""
    random = np.random.default_rng(0)
    photo = cv2.resize(random.integers(0, 255, (12, 12, 3), np.uint8), (size, size))
    raster = draw_landmarks(canonical_face()[:, :2] / 6.0 + 0.5, size)
    slope = np.linspace(-0.1, 0.1, MAPS_SIZE, dtype=np.float32)
    maps = np.broadcast_to(slope, (1, 6, MAPS_SIZE, MAPS_SIZE)).copy()
    return np.asarray(photo, np.uint8)[None], raster[None], maps
