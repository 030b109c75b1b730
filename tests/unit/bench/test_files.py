"""Files of results that cannot be written are named before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.bench.files import require_writable
from server.cli import app
from server.errors import UserError


@pytest.mark.parametrize(
    "command", ["frame", "landmarks", "generator", "batching", "latency", "all", "animate", "call"]
)
def test_a_folder_that_is_not_there_is_said_before_anything_is_measured(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for measures in (
        *("stages.time_frame", "stages.time_landmarks", "stages.time_command", "networks.make_generator"),
        *("runtime_process.measure_generator", "batching.Batching.run", "latency.measure_start"),
        *("everything.Everything.run", "call.CallBenchmark.run"),
    ):
        monkeypatch.setattr(
            f"server.bench.{measures}", lambda *args, **options: pytest.fail("it was measured")
        )
    file = tmp_path / "none" / "x.json"
    result = CliRunner().invoke(app, ["bench", command, "--json", str(file)])
    assert isinstance(result.exception, UserError), result.output
    assert f"--json {file}: there is no folder {file.parent}." in str(result.exception)


@pytest.mark.parametrize("command", ["batching", "call"])
def test_a_plot_of_an_unknown_kind_is_said_before(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", command, "--plot", str(tmp_path / "x.txt"), "--seconds", "1"])
    assert isinstance(result.exception, UserError), result.output
    assert "end its name in .png" in str(result.exception)


def test_what_can_be_written_is_let_by(tmp_path: Path) -> None:
    require_writable()
    require_writable(json_file=tmp_path / "x.json", plot=tmp_path / "x.PNG")
    require_writable(json_file=Path("x.json"), plot=Path("x.svg"))
    require_writable(json_file=Path("/dev/null"))
    with pytest.raises(UserError, match="this is a folder"):
        require_writable(json_file=tmp_path)
