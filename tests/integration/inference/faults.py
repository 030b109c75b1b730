"""Generators that fail in every way, for the inference process to be started with."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.generator import Landmarks, Picture, TargetFeatures
from models.mesh_warp import MeshWarpGenerator

BRIGHT_CORNER = (255, 128, 0)


class _Switched(MeshWarpGenerator):
    """A mesh warp that misbehaves while the file named by INFERENCE_TEST_FAULT names a fault.

    Not when it is warmed up: a stand-by that is loaded meanwhile is to be sound.
    """

    _warm = False

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._at_it = 0

    def generate(self, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        if not self._warm:
            self._warm = True
            return super().generate(targets, landmarks)
        switch = Path(os.environ["INFERENCE_TEST_FAULT"])
        self._at_it += 1
        try:
            return self._generate(switch, targets, landmarks)
        finally:
            self._at_it -= 1

    def _generate(self, switch: Path, targets: Sequence[TargetFeatures], landmarks: Landmarks) -> Picture:
        if self._at_it > 1:
            switch.with_suffix(".together").touch()
        fault = switch.read_text() if switch.exists() else ""
        if fault == "raise":
            raise RuntimeError("the model is broken")
        if fault == "raise on bright" and any(map(_is_bright, targets)):
            raise RuntimeError("the model is broken for this target")
        if fault == "exit on bright" and any(map(_is_bright, targets)):
            os._exit(3)
        if fault == "hang" or (fault == "hang on bright" and any(map(_is_bright, targets))):
            time.sleep(60)
        if fault == "slow":
            time.sleep(0.8)
        return super().generate(targets, landmarks)


def _is_bright(target: TargetFeatures) -> bool:
    """Whether it is the target ``bright`` of the trials, which has a corner of this colour."""
    corner = target.photo[:4, :4].reshape(-1, 3).mean(0)  # type: ignore[attr-defined]
    return bool(np.abs(corner - BRIGHT_CORNER).max() < 8)


def switched(size: int) -> MeshWarpGenerator:
    return _Switched(size)


def broken(size: int) -> MeshWarpGenerator:
    raise RuntimeError("no weights")
