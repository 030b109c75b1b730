"""The network's weights on disk: half precision, and beside them its sizes and activation ranges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from models.marionette.config import NetworkConfig

if TYPE_CHECKING:
    from models.marionette.network import MarionetteNetwork

__all__ = [
    "ActivationRanges",
    "Arrays",
    "NetworkWeights",
    "WeightsError",
    "begin_with",
    "load_checkpoint",
    "load_network",
    "network_of",
    "read_weights",
    "save_network",
    "weights_of",
]

#: A network's parameters by their names in its ``state_dict``.
Arrays = dict[str, npt.NDArray[np.float32]]

#: Of convolutions by their names, the least and the greatest that each channel they read is, ``[2, C]``.
ActivationRanges = Mapping[str, npt.NDArray[np.float32]]

_FORMAT: Final = "understudy-marionette-1"
_RANGE: Final = "range:"  # begins the names of activation ranges in a file


class NetworkWeights(NamedTuple):
    """A network without torch.

    Attributes:
        config: its sizes.
        arrays: its parameters.
        ranges: what its convolutions read; none where nobody measured it
            (:func:`models.training.calibration.calibrate`).
    """

    config: NetworkConfig
    arrays: Arrays
    ranges: ActivationRanges = MappingProxyType({})


class WeightsError(ValueError):
    """A file of weights is missing, truncated, or not one of this network's."""


def save_network(network: MarionetteNetwork, path: Path, ranges: ActivationRanges | None = None) -> None:
    """Write the weights in half precision, with the network's sizes and, if given, its ranges beside them."""
    from safetensors.numpy import save_file

    arrays = {name: tensor.half().cpu().numpy() for name, tensor in network.state_dict().items()}
    arrays |= {f"{_RANGE}{name}": value.astype(np.float16) for name, value in (ranges or {}).items()}
    header = {"format": _FORMAT, "config": asdict(network.config)}
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    partial = path.with_name(path.name + ".part")
    save_file(tensors, str(partial), metadata={"understudy": json.dumps(header)})
    partial.chmod(0o644)  # safetensors writes files that nobody else can read
    partial.replace(path)


def read_weights(path: Path) -> NetworkWeights:
    """Read weights written by :func:`save_network`, without torch.

    Raises:
        WeightsError: the file is missing, truncated or of another format.
    """
    try:
        with safe_open(str(path), framework="np") as file:
            header = json.loads((file.metadata() or {}).get("understudy", "{}"))
            if header.get("format") != _FORMAT:
                raise WeightsError(f"{path} does not hold weights of format {_FORMAT}")
            arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
        ranges = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_RANGE)}
        return NetworkWeights(
            NetworkConfig(**header["config"]),
            arrays,
            {name.removeprefix(_RANGE): value for name, value in ranges.items()},
        )
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from None


def weights_of(network: MarionetteNetwork) -> NetworkWeights:
    """The weights of a network that torch holds."""
    state = network.state_dict()
    return NetworkWeights(
        network.config, {name: value.float().cpu().numpy() for name, value in state.items()}
    )


def load_network(path: Path) -> MarionetteNetwork:
    """The network of weights written by :func:`save_network`.

    Raises:
        WeightsError: the file is missing, truncated, of another format or another network.
    """
    weights = read_weights(path)
    try:
        return network_of(weights)
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from None


def network_of(weights: NetworkWeights) -> MarionetteNetwork:
    """The network of such weights, in torch.

    Raises:
        RuntimeError: they are another network's.
    """
    import torch

    from models.marionette.network import MarionetteNetwork

    network = MarionetteNetwork(weights.config)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.arrays.items()})
    return network


def begin_with(network: MarionetteNetwork, path: Path) -> list[str]:
    """Copy weights into a network as far as they fit, to train on from there.

    Returns:
        Names of the parameters that are left as they were: not in the file, or of another size there.

    Raises:
        WeightsError: the file is missing, truncated, of another format, or nothing in it fits.
    """
    import torch

    arrays = read_weights(path).arrays
    state = network.state_dict()
    fitting = {
        name: torch.from_numpy(arrays[name])
        for name, parameter in state.items()
        if name in arrays and arrays[name].shape == tuple(parameter.shape)
    }
    if not fitting:
        raise WeightsError(f"nothing in {path} fits this network")
    network.load_state_dict(fitting, strict=False)
    return [name for name in state if name not in fitting]


def load_checkpoint(path: Path) -> MarionetteNetwork:
    """The averaged weights of a trainer's ``checkpoint.pt``, rounded as :func:`save_network` rounds them.

    Raises:
        WeightsError: the file is missing, truncated, or no such checkpoint.
    """
    import torch

    from models.marionette.network import MarionetteNetwork

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = MarionetteNetwork(NetworkConfig(**state["config"]["network"]))
        network.load_state_dict({name: tensor.half().float() for name, tensor in state["average"].items()})
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as a checkpoint: {error}") from None
    return network
