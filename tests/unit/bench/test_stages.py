"""The models' benchmark: it measures every step, says what changed, and refuses what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.mesh_warp import MeshWarpGenerator
from server.bench.cli import app
from server.bench.stages import peak_gflops, time_command, time_generator
from server.errors import UserError


def test_a_frames_steps_make_up_the_whole_and_can_be_compared(tmp_path: Path) -> None:
    file = tmp_path / "frame.json"
    first = CliRunner().invoke(app, ["frame", "--frames", "10", "--json", str(file)])
    assert first.exit_code == 0, first.output
    results = {one["name"]: one for one in json.loads(file.read_text())["results"]}
    whole = results.pop("whole")
    assert {"landmarks", "retargeting", "generator", "visible mark", "watermark"} < set(results)
    steps = sum(one["p50_ms"] for one in results.values())
    assert 0.5 * whole["p50_ms"] < steps < 1.5 * whole["p50_ms"]
    again = CliRunner().invoke(app, ["frame", "--frames", "10", "--compare", str(file)])
    assert again.exit_code == 0, again.output
    assert "since" in again.output
    assert "%" in again.output


def test_generators_are_timed_by_batch() -> None:
    one, four = time_generator(MeshWarpGenerator(256), [1, 4], rounds=3)
    assert (one.name, one.batch, four.batch) == ("mesh-warp", 1, 4)
    assert 0 < one.p50_ms <= one.p95_ms
    assert peak_gflops(0.05) > 1


@pytest.mark.parametrize("content", ["", "{}", '{"results": [{}]}'])
def test_a_foreign_file_to_compare_with_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    result = CliRunner().invoke(app, ["frame", "--compare", str(file)])
    assert result.exit_code == 2
    assert "other.json" in result.output


def test_a_clip_is_timed_whole() -> None:
    result = CliRunner().invoke(app, ["animate", "--seconds", "0.2", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    assert "0.2 s clip" in result.output


def test_a_command_that_fails_is_no_figure() -> None:
    with pytest.raises(UserError, match="animate failed"):
        time_command("x", ["animate", "no-such-photo.jpg", "-t", "happy"], range(1))
