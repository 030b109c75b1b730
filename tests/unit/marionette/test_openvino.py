"""The network computed by OpenVINO is the network computed by torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.marionette.generator import MarionetteGenerator
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.openvino_runtime import OpenVinoRuntime
from models.marionette.weights import save_network
from tests.unit.marionette.test_generator import landmarks, photo

pytest.importorskip("openvino", reason="OpenVINO is optional: pip install 'understudy[openvino]'")


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (NetworkConfig(width=4, attention_blocks=1, attention_channels=8, finest=4), 256),
        (
            NetworkConfig(
                width=4, attention_blocks=1, attention_channels=8, finest=4, driver_scales=2, synthesis_cell=4
            ),
            256,
        ),
        (NetworkConfig(width=4, attention_blocks=1, attention_channels=8, synthesis_cell=2), 512),
        (NetworkConfig(size=128, width=8, attention_blocks=2, attention_channels=8, scales=2), 512),
    ],
)
def test_it_gives_torchs_pictures(config: NetworkConfig, size: int) -> None:
    """For targets of one photo and of two, in one batch; its graphs are the network's modules."""
    torch.manual_seed(0)
    network = MarionetteNetwork(config).eval()
    for parameter in network.parameters():  # an untrained network ignores most of itself
        torch.nn.init.normal_(parameter, std=0.04)
    shown = np.stack([landmarks(9), landmarks(-5)])
    pictures = []
    for runtime in (network, OpenVinoRuntime(network, "f32", threads=1)):
        generator = MarionetteGenerator(runtime, size)
        one = generator.encode_target(photo(1)[None], landmarks()[None])
        two = generator.encode_target(np.stack([photo(2), photo(3)]), np.stack([landmarks(), landmarks(6)]))
        pictures.append(generator.generate([one, two], shown).astype(int))
    assert pictures[0].std() > 20
    assert np.abs(pictures[0] - pictures[1]).max() <= 2


def test_it_serves_without_torch(tmp_path: Path) -> None:
    """A process that takes over has no time to load it."""
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_network(MarionetteNetwork(NetworkConfig(width=4, attention_channels=4)), weights)
    program = f"""
import sys
from pathlib import Path
import numpy as np
from models.landmarks.topology import canonical_face
from models.marionette.generator import MarionetteGenerator
from models.marionette.openvino_runtime import OpenVinoRuntime
from models.marionette.weights import read_weights
generator = MarionetteGenerator(OpenVinoRuntime(read_weights(Path({str(weights)!r})), "f32"))
face = (canonical_face()[None] * 85 + 256).astype(np.float32)
target = generator.encode_target(np.zeros((1, 512, 512, 3), np.uint8), face)
assert generator.generate([target], face).shape == (1, 256, 256, 3)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_openvino_tells_nobody_that_it_is_used() -> None:
    """By itself its import starts a thread, which forks a process, which calls Google Analytics."""
    program = """
import sys, threading, psutil
from models.marionette.openvino_runtime import bf16_is_fast
bf16_is_fast()
assert sys.modules["openvino_telemetry"] is None
assert threading.active_count() == 1, threading.enumerate()
assert psutil.Process().children() == []
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_openvino_is_imported_in_one_place_only() -> None:
    root = Path(__file__).parents[3]
    found = [
        file.relative_to(root).as_posix()
        for folder in ("models", "server", "signaling")
        for file in (root / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) openvino", file.read_text(), re.MULTILINE)
    ]
    assert found == ["models/marionette/silent_openvino.py"]
