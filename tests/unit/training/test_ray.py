"""The same function on Ray Data as in this machine's processes: the same shards come out of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from safetensors.numpy import load_file

from models.training.build import build_dataset
from tests.unit.training.test_generator_training import OPTIONS, moving_face, write_video


@pytest.fixture
def local_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=1, include_dashboard=False, configure_logging=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_ray_makes_the_same_shards(tmp_path: Path, local_ray: None) -> None:
    source = tmp_path / "clips"
    write_video(source / "ann" / "v1" / "00001.mp4", moving_face())
    (source / "ann" / "v1" / "broken.mp4").write_bytes(b"no video")
    told: list[tuple[int, int]] = []
    here = build_dataset(source, tmp_path / "pool", OPTIONS, workers=1)
    there = build_dataset(
        source, tmp_path / "ray", OPTIONS, engine="ray", workers=1, progress=lambda *done: told.append(done)
    )
    assert there == here
    assert [report.left_out is None for report in there] == [True, False]
    assert told == [(1, 2), (2, 2)]
    assert (tmp_path / "ray" / "report.json").read_text() == (tmp_path / "pool" / "report.json").read_text()
    (shard,) = (tmp_path / "pool" / "shards").glob("*.safetensors")
    ours, same = load_file(tmp_path / "ray" / "shards" / shard.name), load_file(shard)
    assert ours.keys() == same.keys()
    assert all((ours[name] == same[name]).all() for name in same)
