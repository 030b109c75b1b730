"""A runtime is used only where it is installed, right and quicker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models.marionette import selection
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.torch_runtime import TorchRuntime
from models.marionette.weights import NetworkWeights, weights_of


class Pretended(TorchRuntime):
    """Torch under another name."""

    name = "pretended"


class Wrong(Pretended):
    def synthesise(self, aligned: Any, photos: np.ndarray) -> np.ndarray:
        return 255 - super().synthesise(aligned, photos)


class Broken(Pretended):
    def align(self, *_: Any) -> Any:
        raise RuntimeError("no such operation")


@pytest.fixture
def weights() -> NetworkWeights:
    torch.manual_seed(0)
    return weights_of(
        MarionetteNetwork(NetworkConfig(size=64, width=4, attention_blocks=1, attention_channels=4))
    )


def arrange(
    monkeypatch: pytest.MonkeyPatch, runtimes: dict[str, tuple[type, float]], *, cuda: bool = False
) -> None:
    """Let there be these runtimes, each taking so many seconds; others are not installed."""
    monkeypatch.setattr(selection, "has_cuda", lambda: cuda)
    monkeypatch.setattr(selection, "_bf16_is_fast", lambda: "openvino-bf16" in runtimes)
    monkeypatch.setattr(selection, "find_spec", lambda _: object())
    times: dict[int, float] = {}
    trial = selection._trial

    def make(name: str, weights: NetworkWeights) -> TorchRuntime:
        if name not in runtimes:
            raise ImportError(name)
        made: TorchRuntime = runtimes[name][0](selection_network(weights))
        times[id(made)] = runtimes[name][1]
        return made

    monkeypatch.setattr(selection, "make_runtime", make)
    monkeypatch.setattr(selection, "_trial", lambda run, clock: (trial(run, clock)[0], times[id(run)]))


def selection_network(weights: NetworkWeights) -> MarionetteNetwork:
    network = MarionetteNetwork(weights.config)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.arrays.items()})
    return network


@pytest.mark.parametrize(
    ("runtimes", "chosen"),
    [
        ({"openvino-f32": (Pretended, 2.0), "openvino-bf16": (Pretended, 1.0)}, "openvino-bf16"),
        ({"openvino-f32": (Pretended, 1.0), "openvino-bf16": (Pretended, 2.0)}, "openvino-f32"),
        ({"openvino-f32": (Pretended, 2.0), "openvino-bf16": (Wrong, 1.0)}, "openvino-f32"),
        ({"openvino-f32": (Pretended, 2.0), "openvino-bf16": (Broken, 1.0)}, "openvino-f32"),
        ({"openvino-f32": (Broken, 2.0), "torch": (TorchRuntime, 3.0)}, "torch"),
        ({"torch": (TorchRuntime, 3.0)}, "torch"),
    ],
)
def test_what_is_chosen(
    runtimes: Any, chosen: str, weights: NetworkWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrange(monkeypatch, runtimes)
    assert selection.select_runtime(weights).name == chosen


@pytest.mark.parametrize(("gpu", "chosen"), [(Pretended, "cuda"), (Wrong, "openvino-f32")])
def test_a_gpu_is_used_if_its_pictures_are_right(
    gpu: type, chosen: str, weights: NetworkWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrange(monkeypatch, {"openvino-f32": (Pretended, 2.0), "cuda": (gpu, 0.1)}, cuda=True)
    assert selection.select_runtime(weights).name == chosen


def test_none_works(weights: NetworkWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    arrange(monkeypatch, {"openvino-f32": (Broken, 1.0)})
    with pytest.raises(RuntimeError, match="no runtime"):
        selection.select_runtime(weights)


def test_the_self_test_measures_time(weights: NetworkWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "has_cuda", lambda: False)
    choice = selection.select_runtime(weights)
    assert 0 < choice.frame_s < 10
    assert choice.name in ("openvino-bf16", "openvino-f32", "torch")
