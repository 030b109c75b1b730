"""The networks that CSIM is measured with: one that must be there, and two more opinions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.evaluation.arc_face import ArcFaceNetwork
from models.evaluation.face_res import FaceResNetwork
from models.evaluation.identity_network import DlibNetwork, IdentityNetwork

__all__ = ["identity_networks"]

logger = logging.getLogger(__name__)

_FURTHER: Final[MappingProxyType[str, Callable[[Path], IdentityNetwork]]] = MappingProxyType(
    {"csim_arcface": ArcFaceNetwork, "csim_faceres": FaceResNetwork}
)


def identity_networks(cache: Path) -> dict[str, IdentityNetwork]:
    """Networks by the name of their figure; the log says so where a further one is not to be had.

    Raises:
        Unavailable: dlib's, which the bars are measured with, is not to be had.
    """
    networks: dict[str, IdentityNetwork] = {"csim": DlibNetwork(cache)}
    for name, make in _FURTHER.items():
        try:
            networks[name] = make(cache)
        except (RuntimeError, ValueError) as error:  # not to be had, or cannot be read
            logger.warning("%s is not measured: %s", name, error)
    return networks
