"""The batching benchmark: a real inference process, its figures, its plot, its comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from server.bench.batching import _Arrivals, _row
from server.bench.cli import app


def test_two_drivers_are_served_and_drawn(tmp_path: Path) -> None:
    file, plot = tmp_path / "batching.json", tmp_path / "batching.png"
    command = ["batching", "--drivers", "2", "--seconds", "2", "--fps", "10"]
    done = CliRunner().invoke(app, [*command, "--json", str(file), "--plot", str(plot)])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(file.read_text())["rows"]
    assert row["live"] == row["drivers"] == 2
    assert 0 < row["fps_min"] <= row["fps_mean"] <= row["fps_max"] <= 11
    assert 0 < row["age_ms_p50"] <= row["age_ms_p95"] <= row["age_ms_max"]
    assert row["batch"] == 1  # the mesh warp does not batch
    assert row["own_ms"] > 0
    assert len(row["moments"]) >= 2
    assert Image.open(plot).width > 500


def test_what_the_figures_are_made_of() -> None:
    served = _Arrivals(came=[0.1, 0.6, 1.1, 1.6], ages=[0.01, 0.02, 0.03, 0.04])
    starved = _Arrivals(came=[1.9], ages=[0.05])
    row = _row(
        [served, starved],
        [(0.0, 0.0), (1.0, 0.25), (2.0, 1.0)],
        live=2,
        own_ms=10.0,
        batch=1.5,
        cpu=0.5,
        feeder_cpu=0.1,
        overtaken=0.2,
    )
    assert (row.fps_mean, row.fps_min, row.fps_max) == (1.25, 0.5, 2.0)
    assert row.age_ms_max == pytest.approx(50)
    assert row.gap_ms_max == pytest.approx(1900)  # the starved one's silence at the start counts
    assert row.waiting_ms == pytest.approx(30 - 10)
    assert row.cpu_ms == pytest.approx(200)
    assert [moment.fps for moment in row.moments] == [1.0, 1.5]
    assert [moment.cpu for moment in row.moments] == [0.25, 0.75]


@pytest.mark.parametrize("content", ["", '{"rows": [{}]}'])
def test_a_foreign_file_to_compare_with_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    wide = {"COLUMNS": "300"}  # the frame around an error breaks no path
    result = CliRunner(env=wide).invoke(app, ["batching", "--compare", str(file)])
    assert result.exit_code == 2
    assert "other.json" in result.output
