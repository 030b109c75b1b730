"""Which generator calls get: the network, once its weights are there and this machine is quick enough."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from models.landmarks.registration import Registration
from models.marionette import generator, selection
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.weights import WeightsError, save_network
from server import generators
from server.generators import expected, load_generator


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights are expected; nothing lies there yet."""
    path = tmp_path / "weights" / "generator-lite.safetensors"
    path.parent.mkdir()
    monkeypatch.setattr(generators, "SHIPPED", path)
    monkeypatch.setattr(selection, "has_cuda", lambda: False)
    return path


def drop_in(path: Path, seed: int = 0, *, registered: bool = False) -> None:
    torch.manual_seed(seed)
    config = NetworkConfig(size=64, width=4, attention_blocks=1, attention_channels=4, registered=registered)
    save_network(MarionetteNetwork(config), path)


def test_without_weights_it_is_the_mesh_warp(shipped: Path, tmp_path: Path) -> None:
    assert expected("auto", tmp_path) == "mesh-warp"
    assert load_generator("auto", tmp_path)(256).name == "mesh-warp"
    with pytest.raises(WeightsError):
        load_generator("marionette", tmp_path)(256)


def test_weights_that_are_dropped_in_are_used(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process tries out what is quickest, the next one knows, another file is tried anew."""
    drop_in(shipped)
    assert expected("auto", tmp_path) == "marionette"
    first = load_generator("auto", tmp_path)(512)
    assert first.name.startswith("marionette (")
    assert first.size == 512

    def no_trial(_: object) -> None:
        raise RuntimeError("tried again")

    monkeypatch.setattr(selection, "select_runtime", no_trial)
    assert load_generator("server.generators:auto", tmp_path)(256).name == first.name
    drop_in(shipped, seed=1)
    assert load_generator("auto", tmp_path)(256).name == "mesh-warp"  # the trial failed


def test_a_slow_machine_keeps_the_mesh_warp(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_in(shipped)
    monkeypatch.setattr(generators, "_QUICK_ENOUGH_S", 0.0)
    for _ in range(2):  # tried, then remembered
        assert load_generator("auto", tmp_path)(256).name == "mesh-warp"
    assert expected("auto", tmp_path) == "mesh-warp"
    assert load_generator("marionette", tmp_path)(256).name.startswith("marionette (")


def test_what_is_quick_enough_at_256_need_not_be_at_512(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_in(shipped)
    load_generator("auto", tmp_path)(256)
    (remembered,) = tmp_path.glob("*.json")
    monkeypatch.setattr(generators, "_QUICK_ENOUGH_S", 1.5 * json.loads(remembered.read_text())["frame_s"])
    for size, name in ((256, "marionette"), (512, "mesh-warp")):
        assert load_generator("auto", tmp_path)(size).name.split()[0] == name
        assert expected("auto", tmp_path, size) == name


def test_what_is_remembered_may_be_damaged_or_unwritable(shipped: Path, tmp_path: Path) -> None:
    drop_in(shipped)
    data = tmp_path / "data"
    load_generator("auto", data)(256)
    (remembered,) = data.iterdir()
    assert json.loads(remembered.read_text())["frame_s"] > 0
    for damage in ("", "[]", '{"of": 1}'):
        remembered.write_text(damage)
        assert load_generator("auto", data)(256).name.startswith("marionette (")
    shipped.with_name("data").write_text("a file, no folder")
    assert load_generator("auto", shipped.with_name("data"))(256).name.startswith("marionette (")


def test_damaged_weights_do_not_stop_calls(shipped: Path, tmp_path: Path) -> None:
    shipped.write_bytes(b"nothing")
    assert load_generator("auto", tmp_path)(256).name == "mesh-warp"


def test_a_missing_registration_does_not_stop_calls(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop_in(shipped, registered=True)
    missing = partial(Registration.load, tmp_path / "skin-registration.safetensors")
    monkeypatch.setattr(generator, "shipped_registration", missing)
    assert load_generator("auto", tmp_path)(256).name == "mesh-warp"
    with pytest.raises(WeightsError, match=r"skin-registration\.safetensors"):
        load_generator("marionette", tmp_path)(256)
