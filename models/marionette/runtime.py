"""What computes the network, whatever it is: :mod:`.torch_runtime` or :mod:`.openvino_runtime`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.generator import Picture
from models.marionette.config import NetworkConfig

__all__ = ["Float32", "Runtime"]

Float32 = npt.NDArray[np.float32]


class Runtime(Protocol):
    """Computes a network's three parts on pictures and maps as they come.

    Attributes:
        name: for people and statistics.
        best_batch: see :class:`models.generator.Generator`.
        config: of the network.
    """

    name: str
    best_batch: int
    config: NetworkConfig

    def encode(self, photos: Picture, rasters: Picture, maps: Float32) -> Any:
        """A target's code, which only this runtime knows to read.

        Args:
            photos, rasters: ``[K, S, S, 3]`` at the network's size, the reference first.
            maps: mesh maps from the reference to each photo, ``[K, 6, M, M]``.
        """
        ...

    def align(self, codes: Sequence[Any], rasters: Picture, maps: Float32) -> tuple[Any, Float32]:
        """B targets in their drivers' poses.

        Args:
            rasters: ``[B, S/2, S/2, 3]``, maps: ``[B, 6, M, M]``, of the retargeted landmarks.

        Returns:
            What :meth:`synthesise` takes, and the learned part of the flows, ``[B, h, w, 2]`` in
            ``grid_sample`` units.
        """
        ...

    def synthesise(self, aligned: Any, photos: Picture) -> Picture:
        """The pictures ``[B, H, W, 3]`` of aligned photos ``[B, H, W, 3]``."""
        ...
