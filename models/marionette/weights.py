"""The network's weights on disk: half precision, with the network's sizes beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.marionette.network import MarionetteNetwork, NetworkConfig

__all__ = ["WeightsError", "load_checkpoint", "load_network", "save_network"]

_FORMAT: Final = "understudy-marionette-1"


class WeightsError(ValueError):
    """A file of weights is missing, truncated, or not one of this network's."""


def save_network(network: MarionetteNetwork, path: Path) -> None:
    """Write the weights in half precision, with the network's sizes beside them."""
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    header = {"format": _FORMAT, "config": asdict(network.config)}
    save_file(tensors, str(path), metadata={"understudy": json.dumps(header)})


def load_network(path: Path) -> MarionetteNetwork:
    """Read weights written by :func:`save_network`.

    Raises:
        WeightsError: the file is missing, truncated, of another format or another network.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("understudy", "{}"))
        if header.get("format") != _FORMAT:
            raise WeightsError(f"{path} does not hold weights of format {_FORMAT}")
        network = MarionetteNetwork(NetworkConfig(**header["config"]))
        network.load_state_dict({name: tensor.float() for name, tensor in load_file(str(path)).items()})
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}") from None
    return network


def load_checkpoint(path: Path) -> MarionetteNetwork:
    """The averaged weights of a trainer's ``checkpoint.pt``, rounded as :func:`save_network` rounds them.

    Raises:
        WeightsError: the file is missing, truncated, or no such checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = MarionetteNetwork(NetworkConfig(**state["config"]["network"]))
        network.load_state_dict({name: tensor.half().float() for name, tensor in state["average"].items()})
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as a checkpoint: {error}") from None
    return network
