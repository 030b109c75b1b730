"""The generator that keeps targets on a device and makes whole batches there: landmarks up, pictures down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.generator import Landmarks, Picture, TargetFeatures
from models.landmarks.registration import PhotoFace
from models.marionette.executors import Batch, executor_for
from models.marionette.frame_program import FrameProgram, target_tensors
from models.marionette.generator import encode_photos, placed, registration_of
from models.marionette.ladder import RUNGS, chunks
from models.marionette.packing import Layout
from models.marionette.torch_runtime import TorchRuntime

__all__ = ["DeviceGenerator", "DeviceTarget"]


@dataclass(frozen=True)
class DeviceTarget:
    """A target on the device.

    Attributes:
        landmarks: of the reference photo, ``[478, 3]`` in pixels of the 512 crop.
        photos: how many it was encoded from.
        face: see :class:`models.marionette.generator.MarionetteTarget`.
        packed: everything else, bytes on the device.
    """

    landmarks: Landmarks
    photos: int
    face: PhotoFace
    packed: Tensor


class DeviceGenerator:
    """:class:`models.marionette.generator.MarionetteGenerator` with all of the frame on the device.

    Frames of targets with equally many photos share a batch; its size is one of a ladder's
    (:mod:`models.marionette.ladder`).

    Args:
        runtime: the network on its device, in its precision.
        size: pixels a side of the pictures, 256 or 512.
    """

    best_batch = RUNGS[-1]

    def __init__(self, runtime: TorchRuntime, size: int = 256) -> None:
        if size not in (256, 512):
            raise ValueError(f"size must be 256 or 512, not {size}")
        self._runtime = runtime
        self.size = size
        self.name = f"marionette ({runtime.device.type})"
        self._registration = registration_of(runtime.config)
        self._layouts: dict[int, Layout] = {}
        self._executor = executor_for(runtime.device, FrameProgram(runtime.network, size))

    def encode_target(self, images: Picture, landmarks: Landmarks) -> DeviceTarget:
        """See :class:`models.generator.Generator`."""
        encoded = encode_photos(self._runtime, images, landmarks, self.size)
        tensors = target_tensors(encoded)
        layout = self._layouts.setdefault(len(images), Layout(tensors))
        packed = layout.pack(tensors, self._runtime.device)
        if packed.device.type != "cpu":
            torch.cuda.current_stream(packed.device).synchronize()  # frames are made on another stream
        return DeviceTarget(encoded.landmarks, len(images), encoded.face, packed)

    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        """See :class:`models.generator.Generator`. Landmarks that are not finite show the target at rest."""
        own = [target for target in targets if isinstance(target, DeviceTarget)]
        if len(own) != len(targets):
            raise TypeError("these targets were encoded by another generator")
        shown = np.stack(
            [
                placed(face, target.landmarks, target.face, self._registration)
                for face, target in zip(landmarks, own, strict=True)
            ]
            or [np.empty((478, 3), np.float32)]
        ).astype(np.float32)
        parts = chunks([target.photos for target in own])
        batches = [
            Batch(
                self._layouts[own[part.indices[0]].photos],
                [own[index].packed for index in part.padded],
                shown[part.padded],
            )
            for part in parts
        ]
        pictures = np.empty((len(own), self.size, self.size, 3), np.uint8)
        for part, made in zip(parts, self._executor.run(batches), strict=True):
            pictures[part.indices] = made[: len(part.indices)]
        return pictures
