"""The whole evaluation by its command, small: figures that must come out so, JSON, page and card."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import torch
from typer.testing import CliRunner

from models.evaluation.cli import app
from models.evaluation.generator_report import read_report
from models.marionette.network import MarionetteNetwork, NetworkConfig
from models.marionette.weights import WeightsError, load_checkpoint, save_network
from tests.unit.evaluation.footage import make_footage


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_footage(tmp_path_factory.mktemp("data") / "built")


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    torch.manual_seed(0)
    save_network(
        MarionetteNetwork(NetworkConfig(width=4, attention_channels=4)), folder / "untrained.safetensors"
    )
    arguments = [
        "generator", "--data", str(data), "-w", str(folder / "untrained.safetensors"), "--pairs", "1",
        "--photos", "1", "--photos", "3", "--no-csim", "--no-perceptual", "--out", str(folder / "page"),
        "--json", str(folder / "report.json"), "--card", str(folder / "card.md"),
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (folder / "console.txt").write_text(result.output)
    return folder


def test_following_beats_copying_and_a_face_is_found_everywhere(out: Path) -> None:
    summary = read_report(out / "report.json")["summary"]
    one = summary["self 1"]
    for method in ("mesh-warp", "untrained"):
        assert one[method]["l1_face"]["mean"] < 0.7 * one["copy"]["l1_face"]["mean"]
        assert one[method]["pose_squared"]["mean"] < 0.5 * one["copy"]["pose_squared"]["mean"]
        assert one[method]["lost"]["mean"] == 0
        assert summary["video 1"][method]["jitter"]["mean"] < summary["video 1"]["copy"]["jitter"]["mean"]
    # an untrained network is the mesh flow
    assert one["untrained"]["l1"]["mean"] == pytest.approx(one["mesh-warp"]["l1"]["mean"], rel=0.35)


def test_every_method_is_measured_on_every_case(out: Path) -> None:
    rows = read_report(out / "report.json")["rows"]
    groups = [row["group"] for row in rows]
    assert {name: groups.count(name) for name in groups} == {
        "self 1": 2, "self 3": 2, "cross 1": 2, "video 1": 2
    }  # fmt: skip
    assert all(set(row["figures"]) == {"copy", "mesh-warp", "untrained"} for row in rows)
    assert all(row["photos"] == row["asked"] for row in rows if "case" in row)


def test_console_page_and_card_tell_the_same(out: Path) -> None:
    report = read_report(out / "report.json")
    figure = f"{report['summary']['self 1']['untrained']['l1']['mean']:.4f}"
    page, card = (out / "page" / "index.html").read_text(), (out / "card.md").read_text()
    for text in (page, card, (out / "console.txt").read_text()):
        assert figure in text
    pictures = sorted((out / "page" / "pictures").iterdir())
    assert len(pictures) == page.count("<img ") == 2 + 2 + 2 + 2
    assert cv2.imread(str(pictures[0])).shape == (256, 5 * 256, 3)
    assert "card-worst.webp" in card
    assert cv2.imread(str(out / "card-worst.webp")).shape == (128, 4 * 3 * 128, 3)


def test_a_card_can_be_written_again_from_the_figures(out: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["card", str(out / "report.json"), "--out", str(tmp_path / "new" / "c.md")]
    )
    assert result.exit_code == 0, result.output
    again = (tmp_path / "new" / "c.md").read_text()
    assert (out / "card.md").read_text().startswith(again.rstrip())
    assert CliRunner().invoke(app, ["card", str(tmp_path), "--out", str(tmp_path / "d.md")]).exit_code == 2


@pytest.mark.parametrize("content", [b"text", b"", b"\xff\xd8\xff\xe0 a picture"])
def test_what_is_no_report_is_named(content: bytes, tmp_path: Path) -> None:
    report = tmp_path / "text.jpg"
    report.write_bytes(content)
    result = CliRunner().invoke(app, ["card", str(report), "--out", str(tmp_path / "d.md")])
    assert result.exit_code == 2
    assert f"{report} is no report" in result.output


@pytest.mark.parametrize("fault", ["no data", "no weights", "not a checkpoint"])
def test_faults_are_named(fault: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    arguments = {
        "no data": ["--data", str(tmp_path)],
        "no weights": ["--data", str(data), "-w", str(tmp_path / "none.safetensors")],
        "not a checkpoint": ["--data", str(data), "-w", str(tmp_path / "bad.pt")],
    }[fault]
    result = CliRunner().invoke(app, ["generator", "--no-csim", "--no-perceptual", *arguments])
    assert result.exit_code == 2
    assert {"no data": "no shard", "no weights": "none.safetensors", "not a checkpoint": "bad.pt"}[
        fault
    ] in result.output


def test_what_was_measured_is_shown_though_it_cannot_be_written(data: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no photo")
    arguments = ["--data", str(data), "--no-csim", "--no-perceptual", "--pairs", "1", "--photos", "1"]
    result = CliRunner().invoke(
        app,
        ["generator", *arguments, "--cross-photos", "0", "--json", str(tmp_path / "photo.jpg" / "x.json")],
    )
    assert result.exit_code == 2
    assert "mesh-warp" in result.output
    assert "photo.jpg" in result.output


def test_a_checkpoint_gives_its_averaged_weights(tmp_path: Path) -> None:
    network = MarionetteNetwork(NetworkConfig(size=64, width=4, attention_channels=4))
    average = {name: tensor + 0.25 for name, tensor in network.state_dict().items()}
    config = {"network": {"size": 64, "width": 4, "attention_channels": 4}}
    torch.save({"network": network.state_dict(), "average": average, "config": config}, tmp_path / "c.pt")
    for name, tensor in load_checkpoint(tmp_path / "c.pt").state_dict().items():
        torch.testing.assert_close(tensor, average[name].half().float())
    torch.save({"step": 3}, tmp_path / "c.pt")
    with pytest.raises(WeightsError, match=r"c\.pt"):
        load_checkpoint(tmp_path / "c.pt")


def test_another_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps({"format": "else"}))
    with pytest.raises(ValueError, match=r"r\.json"):
        read_report(tmp_path / "r.json")
