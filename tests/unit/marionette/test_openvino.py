"""The network computed by OpenVINO is the network computed by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.marionette.generator import MarionetteGenerator
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.openvino_runtime import OpenVinoRuntime
from tests.unit.marionette.test_generator import landmarks, photo

pytest.importorskip("openvino", reason="OpenVINO is optional: pip install 'understudy[openvino]'")


def test_it_gives_torchs_pictures() -> None:
    """For targets of one photo and of two, in one batch."""
    torch.manual_seed(0)
    network = MarionetteNetwork(
        NetworkConfig(width=4, attention_blocks=1, attention_channels=8, finest=4)
    ).eval()
    for parameter in network.parameters():  # an untrained network ignores most of itself
        torch.nn.init.normal_(parameter, std=0.04)
    shown = np.stack([landmarks(9), landmarks(-5)])
    pictures = []
    for runtime in (network, OpenVinoRuntime(network, "f32", threads=1)):
        generator = MarionetteGenerator(runtime)
        one = generator.encode_target(photo(1)[None], landmarks()[None])
        two = generator.encode_target(np.stack([photo(2), photo(3)]), np.stack([landmarks(), landmarks(6)]))
        pictures.append(generator.generate([one, two], shown).astype(int))
    assert pictures[0].std() > 20
    assert np.abs(pictures[0] - pictures[1]).max() <= 2
