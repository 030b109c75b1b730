"""Many-shot separation: Eq. 2-4 and 9-11 on made-up tracks, in memory, streamed and in parallel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.landmarks import separation
from models.landmarks.separation import ArrayTrack, FileTrack, separate, separate_streaming


def tracks(lengths: list[int], points: int = 7, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(index, 1.0, (length, points, 3)) for index, length in enumerate(lengths)]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(1, 12),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=60, deadline=None)
def test_parts_add_up_and_expressions_average_to_zero(
    lengths: list[int], points: int, dtype: type[np.floating]
) -> None:
    given_tracks = [track.astype(dtype) for track in tracks(lengths, points)]
    parts = separate(given_tracks)
    assert parts.average.shape == (points, 3)
    assert parts.identity.shape == (len(lengths), points, 3)
    for track, identity, expression in zip(given_tracks, parts.identity, parts.expression, strict=True):
        assert expression.dtype == dtype
        np.testing.assert_allclose(parts.average + identity + expression, track, atol=1e-6)
        np.testing.assert_allclose(expression.mean(0, dtype=np.float64), 0, atol=1e-6)


def test_equations_written_out() -> None:
    given_tracks = tracks([2, 5, 3])
    parts = separate(given_tracks)
    total = sum(len(track) for track in given_tracks)
    average = sum(frame for track in given_tracks for frame in track) / total  # Eq. 3
    np.testing.assert_allclose(parts.average, average, atol=1e-12)
    for c, track in enumerate(given_tracks):
        identity = sum(frame for frame in track) / len(track) - average  # Eq. 4, 10
        np.testing.assert_allclose(parts.identity[c], identity, atol=1e-12)
        for t, frame in enumerate(track):
            np.testing.assert_allclose(parts.expression[c][t], frame - average - identity, atol=1e-12)


def test_streamed_from_files_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "CHUNK_FRAMES", 4)
    given_tracks = tracks([11, 4, 9])
    sources = []
    for index, track in enumerate(given_tracks):
        np.save(tmp_path / f"{index}.npy", track)
        sources.append(FileTrack(str(tmp_path / f"{index}.npy")))
    assert [len(chunk) for chunk in sources[0].chunks()] == [4, 4, 3]
    streamed, whole = separate_streaming(sources), separate(given_tracks)
    np.testing.assert_array_equal(streamed.average, whole.average)
    np.testing.assert_array_equal(streamed.identity, whole.identity)
    assert streamed.frames.tolist() == [11, 4, 9]
    for video, expression in enumerate(whole.expression):
        np.testing.assert_array_equal(np.concatenate(list(streamed.expression(video))), expression)


def test_parallel_is_exactly_serial(tmp_path: Path) -> None:
    given_tracks = tracks([5, 1, 8, 3, 6])
    serial, threaded = separate(given_tracks), separate(given_tracks, workers=3)
    np.testing.assert_array_equal(serial.average, threaded.average)
    np.testing.assert_array_equal(serial.identity, threaded.identity)
    told: list[tuple[int, int]] = []
    processes = separate_streaming(
        [ArrayTrack(track) for track in given_tracks], workers=2, progress=lambda *done: told.append(done)
    )
    np.testing.assert_array_equal(serial.average, processes.average)
    np.testing.assert_array_equal(serial.identity, processes.identity)
    assert told == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([], "no tracks"),
        ([np.zeros((0, 4, 3))], "no frames"),
        ([np.zeros((2, 4, 2))], "array"),
        ([np.zeros((2, 4))], "array"),
        ([np.zeros((2, 4, 3)), np.zeros((2, 5, 3))], "5 landmarks"),
        ([np.full((2, 4, 3), np.nan)], "not finite"),
    ],
)
def test_wrong_tracks_are_refused(wrong: list[np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        separate(wrong)
