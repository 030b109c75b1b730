"""Sample sheets while training: the same frames each time, logged, and the network left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.training.generator import Phase, Trainer, TrainingConfig
from models.training.samples import load_people
from models.training.sheets import SampleSheet
from tests.unit.evaluation.footage import make_footage

NETWORK = NetworkConfig(size=64, width=4, attention_blocks=1, attention_channels=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_footage(tmp_path_factory.mktemp("data") / "built", ("train", "dev"))


def test_a_sheet_shows_and_measures_the_same_frames_again(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MarionetteNetwork(NETWORK).train()
    network.decoder.requires_grad_(False)
    sheet = SampleSheet(load_people(data, ["dev"]), tmp_path / "sheets", rows=1, tile=64)
    random = torch.get_rng_state()
    first, again = sheet(network, 10), sheet(network, 20)
    assert first == again
    assert first["l1_change"] == pytest.approx(0, abs=0.35)  # untrained: the mesh flow
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning
    assert not any(name.startswith("decoder") for name in learning)
    pictures = [cv2.imread(str(tmp_path / "sheets" / f"sheet-{step:07d}.png")) for step in (10, 20)]
    assert pictures[0].shape == (64 + 20, 8 * 64, 3)
    np.testing.assert_array_equal(*pictures)


def test_the_sheet_shows_what_the_figures_say(data: Path, tmp_path: Path) -> None:
    """A network that adds a constant to every picture is brighter on the sheet and worse in the figures."""
    torch.manual_seed(0)
    network = MarionetteNetwork(NETWORK)
    sheet = SampleSheet(load_people(data, ["dev"]), tmp_path, rows=1, tile=64)
    before = sheet(network, 1)
    with torch.no_grad():
        biases = [module for module in network.decoder.modules() if isinstance(module, torch.nn.Conv2d)]
        next(module for module in reversed(biases) if module.out_channels == 3).bias.fill_(0.5)
    after = sheet(network, 2)
    assert after["l1"] > before["l1"] + 0.2
    plain, bright = (cv2.imread(str(tmp_path / f"sheet-{step:07d}.png"))[20:].astype(int) for step in (1, 2))
    np.testing.assert_array_equal(plain[:, : 3 * 64], bright[:, : 3 * 64])
    assert (bright - plain)[:, 3 * 64 : 4 * 64].mean() > 30


def test_a_run_logs_its_figures_and_leaves_its_sheets(data: Path, tmp_path: Path) -> None:
    config = TrainingConfig(
        network=NETWORK, phases=[Phase(steps=2, size=64, batch=1, taught_flow=0.0)], workers=0, bf16=False,
        log_steps=1, evaluate_steps=1, discriminator=[4],
    )  # fmt: skip
    sheet = SampleSheet(load_people(data, ["dev"]), tmp_path / "sheets", pairs=1, rows=1, tile=32)
    Trainer(config, data, tmp_path, cache=tmp_path, evaluate=sheet, device="cpu").run()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "dev/l1" in line] == [1, 2]
    assert all(0 < line["dev/l1_face"] < 1 for line in log if "dev/l1" in line)
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == [
        "sheet-0000001.png", "sheet-0000002.png"
    ]  # fmt: skip


def test_without_people_there_is_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="held out"):
        SampleSheet([], tmp_path)
