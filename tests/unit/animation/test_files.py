"""Clips in, films and animations out: formats, sound, whole photos, and nothing left behind when it fails."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data

from models.landmarks.crop import face_crop
from models.landmarks.detector import FaceDetector
from models.templates.create import template_of_clip
from models.templates.library import Library
from models.templates.template import load_template, save_template
from models.templates.timeline import Timeline
from server.animation.clip import ClipLimits, read_clip
from server.animation.encode import format_of, writing
from server.animation.errors import AnimationError
from server.animation.options import Format
from server.animation.paste import WholePhoto

from .conftest import animator, tone


def _pictures(count: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Ever brighter."""
    return [np.full((height, width, 3), 20 + 200 * k // count, np.uint8) for k in range(count)]


def _write(path: Path, kind: Format, pictures: list[np.ndarray]) -> None:
    with writing(path, kind, 25) as writer:
        for picture in pictures:
            writer.write(picture)


def _decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_films(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / f"x.{kind}"
    with writing(path, kind, 25) as writer:
        for picture in _pictures(30):
            writer.write(picture)
    decoded = _decoded(path)
    assert len(decoded) == 30
    for picture, back in zip(_pictures(30), decoded, strict=True):
        assert abs(float(back.mean()) - float(picture.mean())) < 6
    with av.open(str(path)) as container:
        assert float(container.duration or 0) / av.time_base == pytest.approx(1.2, abs=0.05)
        metadata = {key.lower(): value for key, value in container.metadata.items()}
        assert "AI-generated" in metadata["comment"]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_animations(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / f"x.{kind}"
    with writing(path, kind, 30, endless=True) as writer:
        for picture in _pictures(30):
            writer.write(picture)
    with Image.open(path) as image:
        assert image.n_frames == 30
        assert image.info.get("loop") == 0
        total = 0
        for index in range(30):
            image.seek(index)
            image.load()
            total += image.info["duration"]
        assert total == pytest.approx(1000, abs=20)


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_sound_is_carried_over_and_ends_with_the_pictures(tmp_path: Path, kind: Format) -> None:
    path, sound = tmp_path / f"x.{kind}", tone(tmp_path / "sound.wav", 10.0)
    with writing(path, kind, 20, sound=sound) as writer:
        for picture in _pictures(50):
            writer.write(picture)
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        parts = [
            frame.to_ndarray().reshape(len(frame.layout.channels), -1)[0]
            for frame in container.decode(audio=0)
        ]
        heard = np.abs(np.concatenate(parts).astype(np.float64))
        heard /= heard.max()
    assert len(heard) / rate == pytest.approx(2.5, abs=0.12)
    loud = np.flatnonzero(heard > 0.3)
    begins = loud[np.flatnonzero(np.diff(loud, prepend=-rate) > rate // 2)] / rate
    np.testing.assert_allclose(begins, [0.0, 1.0, 2.0], atol=0.06)


def test_sound_that_changes_its_rate_and_channels_on_the_way(tmp_path: Path) -> None:
    sound, path = tmp_path / "sound.ts", tmp_path / "x.mp4"
    for rate, layout, channels in ((48000, "stereo", 2), (44100, "mono", 1)):
        with av.open(str(tmp_path / "part.ts"), "w", format="mpegts") as container:
            stream = container.add_stream("aac", rate=rate, layout=layout)
            for index in range(40):
                silence = np.zeros((channels, 1024), np.float32)
                frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = rate, index * 1024
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with sound.open("ab") as whole:
            whole.write((tmp_path / "part.ts").read_bytes())
    with writing(path, "mp4", 20, sound=sound) as writer:
        for picture in _pictures(30):
            writer.write(picture)
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        assert {frame.sample_rate for frame in frames} == {48000}
        assert sum(frame.samples for frame in frames) / 48000 == pytest.approx(1.5, abs=0.1)


def test_what_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"mine")

    def breaks_off() -> None:
        with writing(path, "mp4", 25) as writer:
            writer.write(_pictures(1)[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaks_off()
    assert path.read_bytes() == b"mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.mp4"]
    with pytest.raises(AnimationError) as caught, writing(tmp_path / "no" / "x.mp4", "mp4", 25):
        pass
    assert caught.value.code == "cannot_write"
    with pytest.raises(AnimationError) as caught, writing(tmp_path / "y.gif", "gif", 25):
        pass
    assert caught.value.code == "cannot_write"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.mp4"]


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif", "webp"])
def test_a_disk_that_fills_up_leaves_no_half_of_a_film(tmp_path: Path, kind: Format) -> None:
    path, noise = tmp_path / f"x.{kind}", np.random.default_rng(1)
    pictures = [noise.integers(0, 255, (128, 128, 3), np.uint8) for _ in range(8)]
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing further then fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most))
    try:
        with pytest.raises(AnimationError) as refused:
            _write(path, kind, pictures)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
        signal.signal(signal.SIGXFSZ, handler)
    assert refused.value.code == "cannot_write"
    assert list(tmp_path.iterdir()) == []


def test_format_of() -> None:
    assert format_of(Path("A.MP4")) == "mp4"
    with pytest.raises(AnimationError, match=r"\.webm") as caught:
        format_of(Path("a.avi"))
    assert caught.value.code == "format_unknown"


# ------------------------------------------------------------ clips of a driver


def test_a_clip_is_read(performance: Path) -> None:
    clip = read_clip(performance)
    assert clip.fps == pytest.approx(20)
    assert len(clip.landmarks) == 60
    assert all(points is not None and points.shape == (478, 3) for points in clip.landmarks)
    assert clip.sound == performance


def test_a_clip_at_another_rate_keeps_its_length(performance: Path) -> None:
    assert len(read_clip(performance, fps=10).landmarks) == 30
    assert len(read_clip(performance, fps=30).landmarks) == pytest.approx(90, abs=2)
    assert len(read_clip(performance, until=1.0).landmarks) == 20


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray(animator("ines", 512).still).save(tmp_path / f"{index}.png")
    clip = read_clip(tmp_path)
    assert (clip.fps, len(clip.landmarks), clip.sound) == (25.0, 3, None)


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    both = np.concatenate([animator("ines", 512).still, animator("kenji", 512).still], axis=1)
    for index in range(30):
        Image.fromarray(both).save(folder / f"{index:02d}.jpg")
    return folder


def test_clips_that_are_refused(tmp_path: Path, performance: Path, two_faces: Path) -> None:
    def code(path: Path, **options: object) -> str:
        with pytest.raises(AnimationError) as caught:
            read_clip(path, **options)  # type: ignore[arg-type]
        assert caught.value.message.endswith(".")
        return caught.value.code

    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(b"garbage" * 100)
    grey = tmp_path / "grey.mp4"
    with writing(grey, "mp4", 25) as writer:
        for picture in _pictures(20, 128, 128):
            writer.write(picture)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert code(garbage) == "driver_unreadable"
    assert code(tmp_path / "missing.mp4") == "driver_unreadable"
    assert code(tone(tmp_path / "sound.wav", 1.0)) == "no_pictures"
    assert code(empty) == "no_pictures"
    assert code(grey) == "driver_no_face"
    assert code(two_faces) == "driver_several_faces"
    assert code(performance, limits=ClipLimits(max_seconds=1.0)) == "driver_too_long"
    assert code(performance, limits=ClipLimits(max_bytes=1000)) == "driver_too_large"
    assert code(performance, limits=ClipLimits(max_pixels=1000)) == "driver_too_large"


# ------------------------------------------------------------ templates of clips


def test_a_template_of_a_clip_holds_its_expression(performance: Path, tmp_path: Path) -> None:
    """A clip was drawn with 'happy': what is made of it is 'happy' again, and nobody's face."""
    clip = read_clip(performance)
    save_template(template_of_clip("mine", clip.landmarks, clip.times), tmp_path / "mine.template")
    made = load_template(tmp_path / "mine.template")
    happy = Library().find("happy").expression[-1]
    frame = int(np.linalg.norm(made.expression, axis=(1, 2)).argmax())
    assert 1.5 < made.time[frame] < 2.7  # when it was at its height
    lips = [61, 291, 13, 14, 0, 17, 78, 308]
    a, b = made.expression[frame][lips].ravel(), happy[lips].ravel()
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.7
    assert 0.4 < np.linalg.norm(a) / np.linalg.norm(b) < 1.4
    assert made.cover["mouth"] == 1.0
    assert np.abs(made.expression[0]).max() < 0.06  # at rest nothing is left of whose face it was
    moved = list(animator("kenji").play(Timeline([made]).frames(25)))
    assert np.array_equal(moved[0], animator("kenji").still)


# ------------------------------------------------------------ whole photos


def test_the_face_is_put_back_where_it_was() -> None:
    photo = data.astronaut()
    with FaceDetector(static=True) as detector:
        crop, _, transform = face_crop(photo, detector.detect(photo)[0], 512)
    still = np.ascontiguousarray(crop[::2, ::2])
    whole = WholePhoto(photo, transform, 512, still)
    assert np.array_equal(whole.show(still), whole.still)
    assert all(side % 2 == 0 for side in whole.still.shape[:2])
    red = np.zeros_like(still)
    red[..., 0] = 255
    shown = whole.show(red).astype(int)
    changed = np.abs(shown - whole.still).sum(2) > 30
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    scale = len(whole.still) / len(photo)
    side = 512 / transform[0, 0] * scale
    assert len(rows) == pytest.approx(0.93 * side, abs=0.07 * side)
    centre = (256 - transform[:, 2]) / transform[0, 0] * scale
    assert columns.mean() == pytest.approx(centre[0], abs=3)
    # what is pasted is what was cut: the crop itself, a little brighter, shows no seam and no shift
    brighter = np.clip(still.astype(int) + 2, 0, 255).astype(np.uint8)
    assert np.abs(whole.show(brighter).astype(int) - whole.still)[changed].mean() < 6


def test_an_enormous_photo_is_made_smaller_rather_than_the_face_blurred() -> None:
    photo = np.full((3000, 4001, 3), 128, np.uint8)
    transform = np.array([[0.25, 0, -200], [0, 0.25, -100]])
    whole = WholePhoto(photo, transform, 512, np.full((256, 256, 3), 128, np.uint8))
    assert whole.still.shape == (376, 500, 3)
