"""The network computed by OpenVINO is the network computed by torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.marionette import openvino_graph
from models.marionette.generator import MarionetteGenerator
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.openvino_int8 import quantised
from models.marionette.openvino_runtime import OpenVinoRuntime
from models.marionette.silent_openvino import core, openvino, ops
from models.marionette.weights import ActivationRanges, read_weights, save_network, weights_of
from server.generators import SHIPPED
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


def ranges_of(network: MarionetteNetwork) -> ActivationRanges:
    """What each convolution reads while one frame is made, to its ends."""
    ranges = {}

    def watch(name: str) -> Any:
        def seen(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            values = inputs[0][0].flatten(1)
            ranges[name] = torch.stack([values.amin(1), values.amax(1)]).numpy()

        return seen

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    pictures_by(network)
    for hook in hooks:
        hook.remove()
    return ranges


def pictures_by(runtime: MarionetteNetwork | OpenVinoRuntime) -> np.ndarray:
    """A frame of a face that turned by 9 pixels."""
    generator = MarionetteGenerator(runtime)
    target = generator.encode_target(photo(1)[None], landmarks()[None])
    return generator.generate([target], landmarks(9)[None]).astype(int)


def test_convolutions_in_8_bits_give_the_same_picture_but_for_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino_graph, "_WORTH_INT8", 0)
    torch.manual_seed(0)
    config = NetworkConfig(
        width=8, attention_blocks=1, attention_channels=8, finest=4, driver_scales=2, synthesis_cell=4
    )
    network = MarionetteNetwork(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.04)
    weights = weights_of(network)._replace(ranges=ranges_of(network))
    exact, rounded = pictures_by(network), pictures_by(OpenVinoRuntime(weights, "int8"))
    assert 0 < np.abs(rounded - exact).mean() < 0.5
    assert np.abs(rounded - exact).max() <= 6


def test_what_is_shipped_can_be_computed_in_8_bits() -> None:
    weights = read_weights(SHIPPED)
    exact, rounded = (pictures_by(OpenVinoRuntime(weights, precision)) for precision in ("f32", "int8"))
    off = np.abs(rounded - exact)
    assert 0 < off.mean() < 0.6
    assert np.percentile(off, 99) <= 3


def test_8_bits_need_activation_ranges() -> None:
    weights = weights_of(MarionetteNetwork(NetworkConfig(width=4, attention_channels=4)))
    with pytest.raises(ValueError, match="understudy train calibrate"):
        OpenVinoRuntime(weights, "int8")


@pytest.mark.parametrize("least", [0.1, 0.0])
def test_a_rounded_convolution_is_the_convolution(least: float) -> None:
    """Channels may differ a hundredfold in range, or be nothing at all; edges are padded with zeros."""
    random = np.random.default_rng(0)
    spread = np.array([10.0, 1.0, least], np.float32).reshape(1, 3, 1, 1)
    x = (random.standard_normal((1, 3, 16, 16)) * spread + 0.3 * spread).astype(np.float32)
    weight = (random.standard_normal((5, 3, 3, 3)) / spread.clip(0.1)).astype(np.float32)
    ranges = np.stack([x[0].min((1, 2)), x[0].max((1, 2))])
    given = ops.parameter(list(x.shape), openvino.Type.f32)
    read, kernel = quantised(given, weight, ranges)
    model = openvino.Model([ops.convolution(read, kernel, [1, 1], [1, 1], [1, 1], [1, 1])], [given], "test")
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    rounded = core.compile_model(model, "CPU", options)([x])[0]
    exact = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), padding=1).numpy()
    # steps alike for all channels would be off by 0.4
    assert np.abs(rounded - exact).mean() < 0.05 * exact.std()


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


def test_signals_are_handled_after_runtimes_went_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """With a core each, the process ended without a word: the stack for signals was gone."""
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_network(MarionetteNetwork(NetworkConfig(width=4, attention_channels=4)), weights)
    program = f"""
import gc, os, signal
from pathlib import Path
import numpy as np
from models.landmarks.topology import canonical_face
from models.marionette.generator import MarionetteGenerator
from models.marionette.openvino_runtime import OpenVinoRuntime
from models.marionette.weights import read_weights
face = (canonical_face()[None] * 85 + 256).astype(np.float32)
made = [OpenVinoRuntime(read_weights(Path({str(weights)!r})), precision) for precision in ("f32", "bf16")]
for runtime in made:
    MarionetteGenerator(runtime).encode_target(np.zeros((1, 512, 512, 3), np.uint8), face)
del runtime
while made:
    del made[0]
    gc.collect()
handled = []
signal.signal(signal.SIGTERM, lambda *_: handled.append(1))
os.kill(os.getpid(), signal.SIGTERM)
assert handled
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_openvino_is_imported_in_one_place_only() -> None:
    root = Path(__file__).parents[3]
    found = [
        file.relative_to(root).as_posix()
        for folder in ("models", "server", "signaling")
        for file in (root / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) openvino|\.Core\(", file.read_text(), re.MULTILINE)
    ]
    assert found == ["models/marionette/silent_openvino.py"]
