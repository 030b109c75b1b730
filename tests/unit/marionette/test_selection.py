"""A runtime is used only where it is installed, right and quicker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models.marionette import selection
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.torch_runtime import TorchRuntime


class Pretended(TorchRuntime):
    """Torch under OpenVINO's name."""

    name = "pretended"

    def __init__(self, network: MarionetteNetwork, precision: str) -> None:
        super().__init__(network)


class Wrong(Pretended):
    def synthesise(self, aligned: Any, photos: np.ndarray) -> np.ndarray:
        return 255 - super().synthesise(aligned, photos)


class Broken(Pretended):
    def align(self, *_: Any) -> Any:
        raise RuntimeError("no such operation")


class Missing(Pretended):
    def __init__(self, *_: Any) -> None:
        raise ImportError("openvino")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> MarionetteNetwork:
    torch.manual_seed(0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(selection, "bf16_is_fast", lambda: True)
    times = iter([2.0, 1.0])  # torch's, then the candidate's
    trial = selection._trial
    monkeypatch.setattr(selection, "_trial", lambda runtime: (trial(runtime)[0], next(times)))
    return MarionetteNetwork(NetworkConfig(size=64, width=4, attention_blocks=1, attention_channels=4))


@pytest.mark.parametrize(
    ("candidate", "chosen"),
    [(Pretended, "pretended"), (Wrong, "torch"), (Broken, "torch"), (Missing, "torch")],
)
def test_what_is_chosen(
    candidate: type, chosen: str, network: MarionetteNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "OpenVinoRuntime", candidate)
    assert selection.quickest_runtime(network).name == chosen


def test_one_that_is_right_but_slower_is_not_used(
    network: MarionetteNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "OpenVinoRuntime", Pretended)
    times = iter([1.0, 2.0])
    trial = selection._trial
    monkeypatch.setattr(selection, "_trial", lambda runtime: (trial(runtime)[0], next(times)))
    assert selection.quickest_runtime(network).name == "torch"
