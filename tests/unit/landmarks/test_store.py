"""The landmark store: what is written is read back to the bit, what is damaged or foreign is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from models.landmarks.separation import ArrayTrack, separate_streaming
from models.landmarks.store import LandmarkStore, Source, StoreError, write_store

LENGTHS = [4, 1, 6]


def write(path: Path, *, crop_size: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    tracks = [random.normal(size=(length, 5, 3)).astype(np.float32) for length in LENGTHS]
    sources = [ArrayTrack(track) for track in tracks]
    crops = [[random.integers(0, 255, (n, crop_size, crop_size, 3), np.uint8)] for n in LENGTHS]
    write_store(
        path,
        separate_streaming(sources),
        [source.chunks() for source in sources],
        [np.arange(length) * 2 + 1 for length in LENGTHS],
        [Source(f"video {index}.mp4", length, 12.5) for index, length in enumerate(LENGTHS)],
        crops=crops if crop_size else None,
        crop_size=crop_size,
        notes={"left_out": [["wall.mp4", "shows no face"]]},
    )
    return tracks


def test_round_trip_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "faces.safetensors"
    tracks = write(path, crop_size=8)
    store = LandmarkStore.open(path)
    assert [source.name for source in store.sources] == ["video 0.mp4", "video 1.mp4", "video 2.mp4"]
    assert store.video.tolist() == [0] * 4 + [1] + [2] * 6
    assert store.frame[:4].tolist() == [1, 3, 5, 7]
    assert store.header["left_out"] == [["wall.mp4", "shows no face"]]
    separated = separate_streaming([ArrayTrack(track) for track in tracks])
    np.testing.assert_array_equal(store.average, separated.average)
    np.testing.assert_array_equal(store.identity, separated.identity)
    for video, track in enumerate(tracks):
        np.testing.assert_array_equal(store.landmarks(video), track)
        np.testing.assert_array_equal(
            store.expression(video), np.concatenate(list(separated.expression(video)))
        )
        together = store.average + store.identity[video] + store.expression(video)
        np.testing.assert_allclose(together, track, atol=1e-6)
        assert store.crops(video).shape == (LENGTHS[video], 8, 8, 3)
    assert not list(tmp_path.rglob("*.part"))


def test_the_library_itself_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "faces.safetensors"
    tracks = write(path)
    with safe_open(path, "numpy") as file:
        assert set(file.keys()) == {"average", "identity", "landmark", "expression", "video", "frame"}
        np.testing.assert_array_equal(file.get_tensor("landmark"), np.concatenate(tracks))
        header = json.loads(file.metadata()["understudy"])
    assert header["version"] == 1
    assert "canonical" in header["normalisation"]
    with pytest.raises(StoreError, match="--crops"):
        LandmarkStore.open(path).crops(0)


@pytest.mark.parametrize("kept", [0, 5, 200, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "faces.safetensors"
    write(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept >= 1 or kept == 0 else kept * len(data))])
    with pytest.raises(StoreError, match=r"faces\.safetensors: truncated"):
        LandmarkStore.open(path)


def test_foreign_files_are_named(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    with pytest.raises(StoreError, match="not a safetensors file"):
        LandmarkStore.open(picture)
    other = tmp_path / "weights.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, other)
    with pytest.raises(StoreError, match="not a landmark store"):
        LandmarkStore.open(other)
    with pytest.raises(FileNotFoundError):
        LandmarkStore.open(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 99}, "version 99"),
        ({"normalisation": "none"}, "normalised otherwise"),
        ({"sources": [{"name": "a", "frames": 3, "fps": 1.0}]}, "not those of the videos"),
        ({"sources": [{"title": "a"}]}, "does not name"),
    ],
)
def test_incompatible_headers_are_refused(tmp_path: Path, change: dict, words: str) -> None:
    path = tmp_path / "faces.safetensors"
    write(path)
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["understudy"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"understudy": json.dumps({**header, **change})})
    with pytest.raises(StoreError, match=words):
        LandmarkStore.open(path)


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "faces.safetensors"
    write(path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file({**tensors, "expression": tensors["expression"][:-1].copy()}, path, metadata=metadata)
    with pytest.raises(StoreError, match="expression has shape"):
        LandmarkStore.open(path)
    tensors.pop("frame")
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(StoreError, match="frame missing"):
        LandmarkStore.open(path)


def test_parts_of_other_videos_are_not_written(tmp_path: Path) -> None:
    source = ArrayTrack(np.zeros((3, 5, 3), np.float32))
    path = tmp_path / "faces.safetensors"
    with pytest.raises(ValueError, match="separated"):
        write_store(path, separate_streaming([source]), [source.chunks()], [[0, 1]], [Source("a", 2)])
    with pytest.raises(ValueError, match="frame holds 2"):
        write_store(path, separate_streaming([source]), [source.chunks()], [[0, 1]], [Source("a", 3)])
    assert not path.exists()
    assert not list(tmp_path.iterdir())
