"""Which runtime computes a network on this machine: the quickest one whose pictures are right."""

from __future__ import annotations

import logging
import time

import numpy as np
import torch

from models.marionette.network import MarionetteNetwork
from models.marionette.openvino_runtime import OpenVinoRuntime, bf16_is_fast
from models.marionette.runtime import Runtime
from models.marionette.torch_runtime import TorchRuntime
from models.mesh_maps import MAPS_SIZE

__all__ = ["quickest_runtime"]

logger = logging.getLogger(__name__)

#: How far a runtime's pictures may be from torch's single precision, in 255ths: mean and largest.
_MEAN_OFF, _MOST_OFF = 0.5, 16
_ROUNDS = 3


def quickest_runtime(network: MarionetteNetwork) -> Runtime:
    """Torch in half precision on a GPU; on a CPU OpenVINO, if it passes a test and is quicker, else torch.

    The test generates a few pictures, which also loads what a first frame would wait for.
    """
    if torch.cuda.is_available():
        return TorchRuntime(network, device="cuda", precision=torch.float16)
    reference = TorchRuntime(network)
    try:
        candidate = OpenVinoRuntime(network, "bf16" if bf16_is_fast() else "f32")
        wanted, torch_s = _trial(reference)
        given, candidate_s = _trial(candidate)
    except ImportError:
        return reference
    except Exception:
        logger.warning("OpenVINO cannot compute the generator's network; torch does", exc_info=True)
        return reference
    off = np.abs(given.astype(int) - wanted)
    if off.mean() > _MEAN_OFF or off.max() > _MOST_OFF:
        logger.warning(
            "OpenVINO's pictures are off by %.2f (%d at most); torch's are used", off.mean(), off.max()
        )
        return reference
    logger.info("%s takes %.0f ms a frame, torch %.0f", candidate.name, 1e3 * candidate_s, 1e3 * torch_s)
    return candidate if candidate_s < torch_s else reference


def _trial(runtime: Runtime) -> tuple[np.ndarray, float]:
    """A picture of noise with a smooth flow, and the least time that its part of a frame took, seconds."""
    random = np.random.default_rng(0)
    size, half = runtime.config.size, runtime.config.size // 2
    photo = np.kron(random.integers(0, 255, (1, 16, 16, 3)), np.ones((1, size // 16, size // 16, 1)))
    photo = photo.astype(np.uint8)
    raster = random.integers(0, 255, (1, size, size, 3), dtype=np.uint8)
    slope = np.linspace(-0.1, 0.1, MAPS_SIZE, dtype=np.float32)
    maps = np.broadcast_to(slope, (1, 6, MAPS_SIZE, MAPS_SIZE)).copy()
    code = runtime.encode(photo, raster, np.zeros_like(maps))
    best = float("inf")
    picture = photo
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        aligned, _ = runtime.align([code], np.ascontiguousarray(raster[:, ::2, ::2][:, :half, :half]), maps)
        picture = runtime.synthesise(aligned, photo)
        best = min(best, time.perf_counter() - began)
    return picture, best
