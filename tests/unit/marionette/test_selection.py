"""A runtime is used only where it is installed, right and quicker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.marionette import openvino_runtime, selection
from models.marionette.device_generator import DeviceGenerator
from models.marionette.frame_program import FrameProgram
from models.marionette.generator import MarionetteGenerator
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.torch_runtime import TorchRuntime
from models.marionette.weights import NetworkWeights, weights_of
from server.bench import networks


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
    fast = [name for name in ("openvino-int8", "openvino-bf16") if name in runtimes]
    monkeypatch.setattr(selection, "_faster", lambda _: fast)
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
        ({"openvino-f32": (Pretended, 3.0), "openvino-int8": (Pretended, 1.0)}, "openvino-int8"),
        (
            {
                "openvino-f32": (Pretended, 3.0),
                "openvino-int8": (Wrong, 1.0),
                "openvino-bf16": (Pretended, 2.0),
            },
            "openvino-bf16",
        ),
        ({"openvino-f32": (Broken, 2.0), "torch": (TorchRuntime, 3.0)}, "torch"),
        ({"torch": (TorchRuntime, 3.0)}, "torch"),
    ],
)
def test_what_is_chosen(
    runtimes: Any, chosen: str, weights: NetworkWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrange(monkeypatch, runtimes)
    assert selection.select_runtime(weights).name == chosen


def test_8_bits_are_tried_where_ranges_were_measured(
    weights: NetworkWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_runtime, "_can", lambda precision: precision in ("INT8", "BF16"))
    monkeypatch.setattr(openvino_runtime, "_cpu_flags", lambda: {"avx2", "avx_vnni"})
    assert selection._faster(weights) == ["openvino-bf16"]
    measured = weights._replace(ranges={"decoder.add": np.zeros((2, 4), np.float32)})
    assert selection._faster(measured) == ["openvino-int8", "openvino-bf16"]


@pytest.mark.parametrize(
    ("cpu", "fast"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n", True),
        ("flags\t\t: fpu amx_bf16 amx_int8\n", True),
        ("vmx flags\t: avx_vnni\nflags\t\t: fpu avx2 avx512f avx512_bf16\n", False),
        ("Features\t: fp asimd evtstrm\n", False),
        ("", False),
        (None, False),
    ],
)
def test_8_bits_are_fast_where_the_cpu_has_units_for_them(
    cpu: str | None, fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    if cpu is not None:
        file.write_text(cpu)
    monkeypatch.setattr(openvino_runtime, "_CPU_INFO", file)
    monkeypatch.setattr(openvino_runtime, "_can", lambda precision: True)
    assert openvino_runtime.int8_is_fast() is fast
    monkeypatch.setattr(networks, "installed", list)
    assert (networks.usual() is networks.Name.OPENVINO_INT8) is fast


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


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> TorchRuntime:
    """Torch on a processor that is taken for a GPU."""
    monkeypatch.setattr(selection, "_has_device", lambda _: True)
    torch.manual_seed(0)
    made = MarionetteNetwork(NetworkConfig(width=4, attention_blocks=1, attention_channels=4))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.04)
    return TorchRuntime(made)


def test_frames_are_drawn_on_a_gpu(runtime: TorchRuntime) -> None:
    assert isinstance(selection.make_generator(runtime, 256), DeviceGenerator)


@pytest.mark.parametrize("fault", ["fails", "is off"])
def test_a_gpu_that_cannot_draw_only_computes(
    fault: str, runtime: TorchRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: FrameProgram, targets: dict[str, torch.Tensor], landmarks: torch.Tensor) -> torch.Tensor:
        if fault == "fails":
            raise RuntimeError("operation not permitted when stream is capturing")
        return torch.zeros(len(landmarks), 256, 256, 3, dtype=torch.uint8)

    monkeypatch.setattr(FrameProgram, "__call__", wrong)
    assert isinstance(selection.make_generator(runtime, 256), MarionetteGenerator)


def test_a_processor_draws_by_opencv(weights: NetworkWeights) -> None:
    generator = selection.make_generator(TorchRuntime(selection_network(weights)), 256)
    assert isinstance(generator, MarionetteGenerator)
