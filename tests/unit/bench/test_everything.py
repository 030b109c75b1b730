"""``bench all``: one file of results that can be compared, and what could not be measured is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.bench.cli import app
from server.bench.everything import Everything
from server.bench.networks import Name
from server.errors import UserError


def test_all_is_written_compared_and_what_is_missing_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(self: Everything) -> None:
        raise UserError("No Chromium was found.")

    # what starts the service is tested by itself
    monkeypatch.setattr(Everything, "_latency", missing)
    monkeypatch.setattr(Everything, "_call", lambda self: [])
    monkeypatch.setattr(Everything, "_batching", lambda self, name: list)
    done: list[str] = []
    every = Everything(256, [Name.MESH_WARP], True, True, lambda doing, share: done.append(doing))
    every.run()
    assert done == ["landmarks", "frame", "generator", "batching mesh-warp", "call", "latency"]
    file = tmp_path / "all.json"
    every.write(file)
    content = json.loads(file.read_text())
    assert {one["name"] for one in content["parts"]["frame"]} > {"mesh-warp: generator", "mesh-warp: whole"}
    assert content["left_out"] == {"latency": "No Chromium was found."}
    assert content["machine"]["cpus"] >= 1
    capsys.readouterr()
    every.show(file)
    shown = capsys.readouterr().out
    assert "+0 %" in shown  # the same figures against themselves
    assert "latency: left out. No Chromium" in shown
    del content["parts"]["frame"]  # as from a machine that could not measure it
    file.write_text(json.dumps(content))
    every.show(file)
    assert "whole" in capsys.readouterr().out


@pytest.mark.parametrize("former", ["", "[]", '{"results": []}', '{"parts": 3}'])
def test_what_cannot_be_compared_with_is_said_before_anything_is_measured(
    former: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Everything, "run", lambda self: pytest.fail("it was measured"))
    file = tmp_path / "former.json"
    file.write_text(former)
    said = CliRunner().invoke(app, ["all", "--compare", str(file)])
    assert said.exit_code == 2
    assert "no result of this command" in " ".join(said.output.replace("│", " ").split())


def test_measured_figures_are_written_though_they_cannot_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Everything, compare: Path | None) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Everything, "run", lambda self: None)
    monkeypatch.setattr(Everything, "show", broken)
    CliRunner().invoke(app, ["all", "--json", str(tmp_path / "all.json")])
    assert json.loads((tmp_path / "all.json").read_text())["parts"] == {}
