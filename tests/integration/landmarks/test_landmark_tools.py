"""`understudy landmarks separate`, `train transformer` and `evaluate landmarks`, from films to figures."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage.data import astronaut
from typer.testing import CliRunner

from models.landmarks.store import LandmarkStore
from server.cli import app

SIDE = 256


def film(path: Path, pictures: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "yuv420p"
        stream.bit_rate = 2_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(stream.encode(None))
    return path


def moving_face(stretch: float, frames: int, seed: int = 0) -> list[np.ndarray]:
    """The astronaut's head, wider or longer, nodding and turning its picture about."""
    head = cv2.resize(astronaut()[0:256, 100:356], (SIDE, SIDE))
    random = np.random.default_rng(seed)
    pictures = []
    for angle in np.cumsum(random.normal(0, 2.0, frames)):
        turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), float(angle), 0.9)
        turn[0] = turn[0] * stretch + [0, 0, SIDE / 2 * (1 - stretch)]
        pictures.append(cv2.warpAffine(head, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE))
    return pictures


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    noise = np.random.default_rng(0).integers(0, 80, (12, SIDE, SIDE, 3), np.uint8)
    pair = [np.concatenate([picture, picture[:, ::-1]], axis=1) for picture in moving_face(1.0, 12)]
    broken = folder / "broken.mp4"
    broken.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(2000))
    return {
        "plain": film(folder / "plain.mp4", moving_face(1.0, 14)),
        "narrow": film(folder / "narrow.mp4", moving_face(0.85, 9, seed=1)),
        "nobody": film(folder / "nobody.mp4", list(noise)),
        "two": film(folder / "two.mp4", pair),
        "broken": broken,
    }


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_separate_names_what_it_leaves_out_and_keeps_the_rest(films: dict[str, Path], tmp_path: Path) -> None:
    printed = run("landmarks", "separate", *films.values(), "--out", tmp_path, "-j", 1)
    for name, reason in (("nobody", "no face"), ("two", "two faces"), ("broken", "cannot be decoded")):
        assert re.search(rf"left out: \S*{name}\.mp4.*{reason}", " ".join(printed.split())), printed
    store = LandmarkStore.open(tmp_path / "landmarks.safetensors")
    assert [source.name for source in store.sources] == ["plain.mp4", "narrow.mp4"]
    assert [source.frames for source in store.sources] == [14, 9]
    assert store.sources[0].fps == pytest.approx(10)
    for video in range(2):
        parts = store.average + store.identity[video] + store.expression(video)
        np.testing.assert_allclose(parts, store.landmarks(video), atol=1e-6)
        np.testing.assert_allclose(store.expression(video).mean(0, dtype=np.float64), 0, atol=1e-6)
    # the narrower face differs as a narrower face does
    widths = (
        np.ptp(store.average + store.identity, axis=1)[:, 0]
        / np.ptp(store.average + store.identity, axis=1)[:, 1]
    )
    assert widths[1] < 0.97 * widths[0]
    page = (tmp_path / "report.html").read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 4
    for picture in pictures:
        decoded = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)
        assert decoded.std() > 5
    assert "http" not in re.sub(r'src="data:[^"]+"', "", page)
    for name in ("nobody.mp4", "two.mp4", "broken.mp4"):
        assert name in page
    assert sorted(item.name for item in tmp_path.iterdir()) == ["landmarks.safetensors", "report.html"]


def test_separate_in_parallel_is_the_same(films: dict[str, Path], tmp_path: Path) -> None:
    elsewhere = tmp_path / "c.safetensors"
    chosen = [films["plain"], films["broken"], films["narrow"]]
    run("landmarks", "separate", *chosen, "--out", tmp_path / "a", "-j", 1)
    run(
        "landmarks",
        "separate",
        *chosen,
        "--out",
        tmp_path / "b",
        "-j",
        2,
        "--store",
        tmp_path / "c.safetensors",
    )
    first = LandmarkStore.open(tmp_path / "a" / "landmarks.safetensors")
    second = LandmarkStore.open(elsewhere)
    np.testing.assert_array_equal(first.average, second.average)
    np.testing.assert_array_equal(first.expression(1), second.expression(1))


def test_nothing_left_is_an_error(films: dict[str, Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["landmarks", "separate", str(films["broken"]), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "No video was left" in result.output
    assert not (tmp_path / "landmarks.safetensors").exists()


def test_where_nothing_can_be_written_is_said_at_once_and_nothing_is_left(
    films: dict[str, Path], tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    new = tmp_path / "new"
    for arguments, sentence in (
        (["--out", taken], f"{taken} is no folder."),
        (["--out", taken / "within"], f"{taken / 'within'} is no folder."),
        (["--out", "/proc/understudy"], "Nothing can be written to the folder /proc/understudy"),
        (["--out", new, "--store", tmp_path], f"{tmp_path} is a folder"),
        (["--out", new, "--store", "/proc/understudy/x"], "Nothing can be written to the folder"),
    ):
        order = ["landmarks", "separate", str(films["nobody"]), *map(str, arguments)]
        result = CliRunner().invoke(app, order, env={"COLUMNS": "300"})
        assert result.exit_code == 2, (arguments, result.exception)
        assert sentence in result.output
    order = ["landmarks", "separate", str(films["broken"]), "--out", str(new / "within")]
    assert "No video was left" in CliRunner().invoke(app, order).output
    assert list(tmp_path.iterdir()) == [taken]


def test_train_and_evaluate_from_films(films: dict[str, Path], tmp_path: Path) -> None:
    folder = films["plain"].parent
    names = []
    for number, stretch in enumerate((1.0, 0.9, 1.1, 0.95)):
        names.append(film(folder / f"person{number}.mp4", moving_face(stretch, 84, seed=number)))
    run("landmarks", "separate", *names, "--out", tmp_path / "store", "--crops", 72, "-j", 1)
    listing = tmp_path / "people.csv"
    rows = [f"{name.name},p{number},{'dev' if number > 1 else 'train'}" for number, name in enumerate(names)]
    listing.write_text("\n".join(["clip,person,split", *rows]) + "\n")
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "{hidden: 16, image_features: 4, channels: [4, 4, 4, 4], image_steps: 4, landmark_steps: 4, batch: 8}"
    )
    store = tmp_path / "store" / "landmarks.safetensors"
    data = ["--store", store, "--people", listing]
    printed = run("train", "transformer", *data, "--config", config, "--out", tmp_path / "run")
    weights = tmp_path / "run" / "landmark-transformer.safetensors"
    assert "weights:" in printed
    assert weights.exists()
    picture, figures = tmp_path / "docs" / "grid.png", tmp_path / "figures.json"
    printed = run(
        "evaluate", "landmarks", *data, "--weights", weights, "--picture", picture, "--json", figures
    )
    assert "identity from one frame" in printed
    assert cv2.imread(str(picture)).std() > 5
    content = json.loads(figures.read_text())
    assert content["identity"]["people"] == 2
    assert content["transfer"]["pairs"] == 2
    assert content["identity"]["naive"] > 0
    listing.write_text("clip,person,split\nperson0.mp4,p0,train\n")
    result = CliRunner().invoke(
        app, ["evaluate", "landmarks", "--store", str(store), "--people", str(listing)]
    )
    assert result.exit_code == 2
    assert "two people" in result.output
