"""``understudy animate`` and ``understudy template``, as commands."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import pytest
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from models.animation.animator import Animator
from models.mesh_warp import MeshWarpGenerator
from models.templates.library import Library
from models.templates.template import save_template
from models.templates.timeline import Timeline
from server.animation.encode import writing
from server.cli import app
from server.targets.store import TargetStore


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("UNDERSTUDY_CONFIG", "")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "me.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "driver.webm"
    kept = TargetStore(path.parent).load("ines")
    moved = Animator(MeshWarpGenerator(512), kept.images, kept.landmarks)
    with writing(path, "webm", 10) as writer:
        for picture in moved.play(Timeline([Library().find("surprised")], seconds=2.0).frames(10)):
            writer.write(picture)
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def size_and_count(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return frames[0].width, frames[0].height, len(frames)


def test_a_template_on_a_photo(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.mp4"
    code, said = run("animate", photo, "-t", "happy", "-o", out, "--seconds", 1, "--fps", 10)
    assert code == 0, said
    assert size_and_count(out) == (256, 256, 10)


def test_several_photos_and_templates_whole_and_back(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.webm"
    arguments = ["-t", "happy", "-t", "wink-left", "--seconds", 2, "--fps", 6, "--play", "return", "--whole"]
    code, said = run("animate", photo, photo, "-o", out, *arguments)
    assert code == 0, said
    width, height, count = size_and_count(out)
    assert (width, height) == (512, 512) or width == height  # the photo is square
    assert count == 12


def test_a_driver_on_a_built_in_target(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.gif"
    code, said = run("animate", "kenji", "-d", clip, "-o", out)
    assert code == 0, said
    with Image.open(out) as image:
        assert image.n_frames == 20


def test_ones_own_template(clip: Path, tmp_path: Path) -> None:
    assert run("template", "create", clip, "-o", "gasp")[0] == 0
    code, said = run("template", "create", clip, "-o", "gasp")
    assert (code, "template_exists" in said) == (1, True)
    assert run("template", "create", clip, "-o", "gasp", "--force")[0] == 0
    assert "gasp" in run("template", "list")[1]
    assert "expression only" in run("template", "show", "gasp")[1]
    out = tmp_path / "x.webp"
    assert run("animate", "kenji", "-t", "gasp", "-o", out, "--fps", 5)[0] == 0
    assert "template_exists" in run("template", "create", clip, "-o", "happy")[1]
    assert "template_name" in run("template", "create", clip, "-o", "../x")[1]


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (["--from", "5"], "--from 5: the clip is 2.0 s long."),
        (["--from", "1", "--to", "0.5"], "--to 0.5 must be after --from 1."),
    ],
)
def test_a_part_that_the_clip_does_not_have_is_said(clip: Path, part: list[str], sentence: str) -> None:
    code, said = run("template", "create", clip, "-o", "gasp", *part)
    assert code == 1
    assert f"{sentence} (option_invalid)" in said


def test_a_template_in_no_folder_is_named_whole(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "none" / "x.template"
    assert f"{out} cannot be written: No such file" in run("template", "create", clip, "-o", out)[1]


def test_a_template_of_somebody_elses_is_listed_as_it_is_described(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "templates"
    folder.mkdir(parents=True)
    odd = replace(Library().find("happy"), name="odd", description="a [smile] closed by [/nothing]")
    save_template(odd, folder / "odd.template")
    code, said = run("template", "list")
    assert code == 0, said
    assert "[smile]" in said


def test_a_sheet_that_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    for arguments, code in (
        (["-o", tmp_path / "x.jpg", "--target", "nobody"], "target_unknown"),
        (["-o", tmp_path / "none" / "x.jpg", "--target", "kenji", "--side", 64], "cannot_write"),
    ):
        status, said = run("template", "sheet", *arguments)
        assert status == 1, said
        assert code in said


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_PORT", "many")
    status, said = run("template", "list")
    assert status == 2
    assert "UNDERSTUDY_PORT" in said


def test_what_is_wrong_is_said_with_a_code_and_writes_nothing(
    photo: Path, clip: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("no picture")
    faceless = tmp_path / "grey.png"
    Image.new("RGB", (300, 300), "grey").save(faceless)
    both = tmp_path / "both.png"
    pair = Image.new("RGB", (1024, 512))
    pair.paste(Image.open(photo), (0, 0))
    pair.paste(Image.open(photo), (512, 0))
    pair.save(both)
    out = tmp_path / "x.mp4"
    before = set(tmp_path.rglob("*"))
    for arguments, code in (
        ([photo, "-t", "hapy", "-o", out], "template_unknown"),
        ([photo, "-t", text, "-o", out], "template_unreadable"),
        ([text, "-t", "happy", "-o", out], "unsupported_format"),
        ([faceless, "-t", "happy", "-o", out], "no_face"),
        ([both, "-t", "happy", "-o", out], "several_faces"),
        ([tmp_path / "none.jpg", "-t", "happy", "-o", out], "target_unknown"),
        ([photo, "-d", text, "-o", out], "driver_unreadable"),
        ([photo, "-d", clip, "-t", "happy", "-o", out], "usage"),
        ([photo, "-o", out], "usage"),
        ([photo, "-t", "happy", "-o", tmp_path / "x.avi"], "format_unknown"),
        ([photo, "-t", "happy", "-o", out, "--intensity", 9], "option_invalid"),
        ([photo, "-t", "happy", "-o", out, "--size", 300], "option_invalid"),
        (["kenji", "-t", "happy", "-o", out, "--whole"], "not_whole"),
    ):
        status, said = run("animate", *arguments)
        assert status == 1, arguments
        assert code in said, (arguments, said)
    assert set(tmp_path.rglob("*")) == before


def test_a_network_of_ones_own(photo: Path, tmp_path: Path) -> None:
    """Untrained, it makes what the mesh warp makes; a file that holds none is named."""
    from models.marionette.network import MarionetteNetwork, NetworkConfig
    from models.marionette.weights import save_network

    weights, out = tmp_path / "w.safetensors", tmp_path / "x.webp"
    save_network(MarionetteNetwork(NetworkConfig(width=4, attention_blocks=1, attention_channels=4)), weights)
    arguments = (photo, "-t", "happy", "--seconds", 0.2, "--fps", 10)
    code, said = run("animate", *arguments, "-o", out, "--weights", weights)
    assert code == 0, said
    assert out.stat().st_size > 1000
    weights.write_bytes(b"nothing")
    code, said = run("animate", *arguments, "-o", tmp_path / "y.webp", "--weights", weights)
    assert code == 1
    assert "weights_invalid" in said
    assert not (tmp_path / "y.webp").exists()


def test_a_result_in_no_folder_is_said_before_any_work(tmp_path: Path) -> None:
    out = tmp_path / "none" / "x.mp4"
    code, said = run("animate", "no photo at all", "-t", "happy", "-o", out)
    assert code == 1
    assert f"there is no folder {out.parent}. (cannot_write)" in said.replace("\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_ends_it_finds_no_half_of_a_film(photo: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    command = ["animate", str(photo), "-t", "happy", "--seconds", "60", "-o", str(folder / "x.mp4")]
    process = subprocess.Popen([sys.executable, "-m", "server.cli", *command], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(folder.iterdir()):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until, "no film was begun"
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert list(folder.iterdir()) == []
