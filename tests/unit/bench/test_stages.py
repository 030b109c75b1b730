"""The models' benchmark: it measures every step, says what changed, and refuses what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models.mesh_warp import MeshWarpGenerator
from server.bench.cli import app
from server.bench.networks import Name
from server.bench.results import Times
from server.bench.runtime_process import held_bytes, peak_gflops
from server.bench.stages import time_command, time_generator
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
    assert peak_gflops(Name.TORCH, seconds=0.05) > 1


def test_the_peak_is_that_of_the_precision() -> None:
    pytest.importorskip("openvino", reason="OpenVINO is optional: pip install 'understudy[openvino]'")
    from models.marionette.openvino_runtime import int8_is_fast

    if not int8_is_fast():
        pytest.skip("this CPU has no units for 8-bit integers")
    single, whole = (peak_gflops(name, seconds=0.5) for name in (Name.OPENVINO_F32, Name.OPENVINO_INT8))
    assert whole > 1.5 * single


def test_what_a_target_holds_is_counted_once() -> None:
    whole = np.zeros((4, 4), np.float32)
    assert held_bytes({"whole": whole, "part": whole[1:], "again": [whole]}) == 64
    assert held_bytes(SimpleNamespace(a=np.zeros(3, np.uint8), b=(torch.zeros(5), "text", None))) == 3 + 20


def test_the_way_to_a_targets_landmarks_is_measured_step_by_step(tmp_path: Path) -> None:
    file = tmp_path / "landmarks.json"
    done = CliRunner().invoke(app, ["landmarks", "--frames", "10", "--json", str(file)])
    assert done.exit_code == 0, done.output
    results = {one["name"]: one for one in json.loads(file.read_text())["results"]}
    assert {"detector, following", "detector, anew", "tracker, whole", "retargeting"} <= set(results)
    # following a face is what saves the search for one
    assert results["detector, following"]["cpu_ms"] < results["detector, anew"]["cpu_ms"]


def test_a_generator_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "generator.json"
    done = CliRunner().invoke(app, ["generator", "-g", "mesh-warp", "--rounds", "3", "--json", str(file)])
    assert done.exit_code == 0, done.output
    (one,) = json.loads(file.read_text())["results"]
    assert one["memory_mib"] > 50
    assert one["target_kib"] > 100  # the photo alone has 192
    assert one["gflops"] is None


def test_shares_of_the_peak() -> None:
    times = Times("x", p50_ms=10.0, p95_ms=12.0, cpu_ms=9.0, gflops=2.0, peak_gflops=400.0)
    assert times.gflops_per_s == pytest.approx(200)
    assert times.share_of_peak == pytest.approx(0.5)


@pytest.mark.parametrize("content", ["", "{}", '{"results": [{}]}'])
def test_a_foreign_file_to_compare_with_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    wide = {"COLUMNS": "300"}  # the frame around an error breaks no path
    result = CliRunner(env=wide).invoke(app, ["frame", "--compare", str(file)])
    assert result.exit_code == 2
    assert "other.json" in result.output


def test_a_clip_is_timed_whole() -> None:
    result = CliRunner().invoke(app, ["animate", "--seconds", "0.2", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    assert "0.2 s clip" in result.output


def test_a_command_that_fails_is_no_figure() -> None:
    with pytest.raises(UserError, match="animate failed"):
        time_command("x", ["animate", "no-such-photo.jpg", "-t", "happy"], range(1))
