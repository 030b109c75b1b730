"""Activation ranges: of what runs for each frame, as measured, kept with the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models.marionette.network import MarionetteNetwork
from models.marionette.weights import read_weights, save_network
from models.training.calibration import calibrate
from models.training.cli import app
from tests.unit.training.test_generator_training import TINY, data, tree  # noqa: F401  (fixtures)


@pytest.fixture
def network() -> MarionetteNetwork:
    torch.manual_seed(0)
    return MarionetteNetwork(TINY.network).eval()


def test_ranges_are_of_what_each_channel_was(data: Path, network: MarionetteNetwork) -> None:  # noqa: F811
    seen: list[torch.Tensor] = []
    network.decoder.synthesis[2].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    done: list[int] = []
    ranges = calibrate(network, data, samples=6, progress=done.append)
    assert done == [4, 6]
    values = torch.cat(seen).flatten(2)
    low, high = ranges["decoder.synthesis.2"]
    assert ((low >= values.amin((0, 2)).numpy()) & (high <= values.amax((0, 2)).numpy())).all()
    # no more is left out than a few outliers
    inside = (values >= torch.tensor(low)[:, None]) & (values <= torch.tensor(high)[:, None])
    assert inside.float().mean() > 0.999
    assert not any(name.startswith("target_encoder") for name in ranges)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_command_writes_them_into_a_file(
    data: Path,  # noqa: F811
    network: MarionetteNetwork,
    tmp_path: Path,
) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(network, path)
    before = read_weights(path)
    assert not before.ranges
    command = ["calibrate", str(path), "--data", str(data), "--samples", "4"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    after = read_weights(path)
    assert after.config == before.config
    assert after.arrays.keys() == before.arrays.keys()
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)
    convolution = after.ranges["decoder.synthesis.2"]
    assert convolution.shape == (2, before.arrays["decoder.synthesis.2.weight"].shape[1])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("missing", ["weights", "data"])
def test_what_is_missing_is_named(
    missing: str,
    data: Path,  # noqa: F811
    network: MarionetteNetwork,
    tmp_path: Path,
) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(network, path)
    content = path.read_bytes()
    weights = tmp_path / "nothing" if missing == "weights" else path
    folder = tmp_path / "nothing" if missing == "data" else data
    result = CliRunner().invoke(app, ["calibrate", str(weights), "--data", str(folder)])
    assert result.exit_code == 2
    assert "nothing" in result.output
    assert path.read_bytes() == content
