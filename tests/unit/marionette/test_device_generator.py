"""The whole frame in tensors gives the pictures of the frame by frame path; targets stay small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.landmarks import topology as face
from models.marionette import executors
from models.marionette.device_generator import DeviceGenerator
from models.marionette.executors import Batch, CudaExecutor, EagerExecutor, executor_for
from models.marionette.generator import MarionetteGenerator
from models.marionette.ladder import RUNGS, chunks
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.packing import Layout
from models.marionette.torch_runtime import TorchRuntime
from server.targets.store import TargetStore
from tests.unit.marionette.test_generator import landmarks, photo

Targets = list[tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Targets:
    """Three targets, one of them with two photos."""
    store = TargetStore(Path(tmp_path_factory.mktemp("store")))
    one, two, three = (store.load(record.id) for record in store.built_ins()[:3])
    return [
        (one.images[:1], one.landmarks[:1].astype(np.float32)),
        (
            np.stack([two.images[0], two.images[0][:, ::-1]]),
            np.stack([two.landmarks[0], two.landmarks[0] + 3]).astype(np.float32),
        ),
        (three.images[:1], three.landmarks[:1].astype(np.float32)),
    ]


def network(*, trained: bool, registered: bool = False) -> MarionetteNetwork:
    torch.manual_seed(0)
    made = MarionetteNetwork(NetworkConfig(width=8, attention_channels=8, finest=4, registered=registered))
    if trained:  # an untrained network ignores most of itself
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.04)
    return made


def moved(points: np.ndarray, *, smiling: bool = False) -> np.ndarray:
    shown = points + np.float32(4)
    for lip in (face.LIP_INNER_LOWER, face.LIP_OUTER_LOWER):
        shown[lip[1:-1], 1] += 16
    if smiling:
        middle = shown[face.LIPS, 0].mean()
        shown[face.LIPS, 0] = middle + 1.4 * (shown[face.LIPS, 0] - middle)
    shown[face.RIGHT_EYE_UPPER, 1] += 5
    return np.asarray(shown, np.float32)


@pytest.mark.parametrize(
    ("size", "trained", "registered"),
    [(256, False, False), (256, False, True), (256, True, False), (512, True, True)],
)
def test_it_gives_the_same_pictures(size: int, trained: bool, registered: bool, targets: Targets) -> None:
    """Of different targets with different numbers of photos in one batch."""
    runtime = TorchRuntime(network(trained=trained, registered=registered))
    given, wanted = (
        generator.generate(
            [generator.encode_target(*target) for target in targets],
            np.stack([moved(points[0], smiling=index > 0) for index, (_, points) in enumerate(targets)]),
        ).astype(int)
        for generator in (DeviceGenerator(runtime, size), MarionetteGenerator(runtime, size))
    )
    assert given.shape == (3, size, size, 3)
    assert wanted.std() > 20
    off = np.abs(given - wanted)
    # lines of the raster are a little different, and OpenCV rounds places to 1/32 pixel
    assert off.mean() < 0.3
    assert np.quantile(off, 0.999) <= 6
    for index, (images, _) in enumerate(targets):  # far nearer than the photos are
        still = images[0] if size == 512 else images[0][::2, ::2]
        assert off[index].mean() < 0.2 * np.abs(wanted[index] - still).mean()


def test_padding_changes_no_picture(targets: Targets) -> None:
    generator = DeviceGenerator(TorchRuntime(network(trained=True)))
    encoded = [generator.encode_target(*target) for target in (targets[0], targets[2])]
    shown = [moved(points[0]) for _, points in (targets[0], targets[2])]
    three = generator.generate([encoded[0], encoded[1], encoded[0]], np.stack([*shown, targets[0][1][0]]))
    for index in (0, 1):
        alone = generator.generate([encoded[index]], shown[index][None])[0]
        assert np.abs(three[index].astype(int) - alone).max() <= 1


def test_landmarks_that_are_not_finite_show_the_target_at_rest(targets: Targets) -> None:
    generator = DeviceGenerator(TorchRuntime(network(trained=True)))
    target = generator.encode_target(*targets[0])
    bad = targets[0][1].copy()
    bad[0, 5] = np.nan
    rest = generator.generate([target], targets[0][1])
    np.testing.assert_array_equal(generator.generate([target], bad), rest)


def test_no_frames_and_foreign_targets() -> None:
    runtime = TorchRuntime(network(trained=False))
    generator = DeviceGenerator(runtime)
    assert generator.generate([], np.empty((0, 478, 3), np.float32)).shape == (0, 256, 256, 3)
    other = MarionetteGenerator(runtime).encode_target(photo(1)[None], landmarks()[None])
    with pytest.raises(TypeError, match="another generator"):
        generator.generate([other], landmarks()[None])


def test_a_target_of_eight_photos_takes_less_than_8_mb() -> None:
    """In half precision, with the network's shipped size."""
    config = NetworkConfig(size=256, width=24, scales=3, finest=4, attention_blocks=2, attention_channels=64)
    runtime = TorchRuntime(MarionetteNetwork(config), precision=torch.bfloat16)
    generator = DeviceGenerator(runtime, 512)
    photos = np.stack([photo(index) for index in range(8)])
    target = generator.encode_target(photos, np.stack([landmarks(shift) for shift in range(8)]))
    assert 512 * 512 * 3 < target.packed.numel() < 8e6


# ---------------------------------------------------------------- the ladder


def test_frames_are_put_on_the_next_rung() -> None:
    (chunk,) = chunks([1] * 5)
    assert (chunk.indices, chunk.rung) == ([0, 1, 2, 3, 4], 8)
    assert chunk.padded == [0, 1, 2, 3, 4, 0, 0, 0]
    assert chunks([]) == []
    for count in range(1, 200):
        made = chunks([1] * count)
        assert [index for chunk in made for index in chunk.indices] == list(range(count))
        assert all(chunk.rung in RUNGS and len(chunk.padded) == chunk.rung for chunk in made)
        assert sum(chunk.rung for chunk in made) < 2 * count


def test_only_frames_of_a_kind_share_a_batch() -> None:
    made = chunks([1, 4, 1, 1, 4])
    assert [(chunk.indices, chunk.rung) for chunk in made] == [([0, 2, 3], 4), ([1, 4], 2)]
    assert [len(chunk.indices) for chunk in chunks([1] * 150)] == [64, 64, 22]


def test_what_is_packed_is_unpacked() -> None:
    tensors = {
        "bytes": torch.arange(7, dtype=torch.uint8),
        "halves": torch.randn(3, 5).half(),
        "floats": torch.randn(2, 2, 2),
    }
    layout = Layout(tensors)
    packed = torch.stack([layout.pack(tensors, torch.device("cpu"))] * 3)
    for name, batch in layout.unpack(packed).items():
        assert batch.dtype == tensors[name].dtype
        for one in batch:
            assert torch.equal(one, tensors[name])


# ---------------------------------------------------------------- graphs, with a slot that only keeps count


class Slot:
    """Stands for a captured graph: notes what is begun and finished."""

    log: list[str]

    def __init__(self, batch: Batch, *_: object) -> None:
        self.rung = len(batch.targets)
        self.number = self.log.count("captured")
        self.log.append("captured")

    def start(self, batch: Batch, *_: object) -> None:
        assert len(batch.targets) == self.rung
        self.value = batch.landmarks[:, 0, 0].copy()
        self.log.append(f"start {self.number}")

    def finish(self) -> np.ndarray:
        self.log.append(f"finish {self.number}")
        return self.value


def test_two_batches_are_under_way_and_no_buffer_is_used_before_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stream:
        def synchronize(self) -> None: ...

    Slot.log = []
    monkeypatch.setattr(executors, "_Slot", Slot)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    device = torch.device("cuda")
    executor = executor_for(device, lambda targets, shown: shown)
    assert isinstance(executor, CudaExecutor)
    assert isinstance(executor_for(torch.device("cpu"), lambda targets, shown: shown), EagerExecutor)
    layout = Layout({"x": torch.zeros(1)})
    target = torch.zeros(layout.size, dtype=torch.uint8)
    batches = [Batch(layout, [target] * 2, np.full((2, 478, 3), n, np.float32)) for n in range(5)]
    for _ in range(2):  # the second time, graphs are there
        results = executor.run(batches)
        assert [int(result[0]) for result in results] == [0, 1, 2, 3, 4]
    assert Slot.log.count("captured") == 2
    assert Slot.log[-10:] == [
        "start 0", "start 1", "finish 0", "start 0", "finish 1", "start 1", "finish 0", "start 0",
        "finish 1", "finish 0",
    ]  # fmt: skip


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_is_the_networks_alone(precision: torch.dtype, targets: Targets) -> None:
    """Geometry in half precision would be off by pixels."""
    pictures = []
    for of in (torch.float32, precision):
        generator = DeviceGenerator(TorchRuntime(network(trained=False), precision=of))
        shown = moved(targets[0][1][0])
        pictures.append(generator.generate([generator.encode_target(*targets[0])], shown[None]).astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() < 1.0
