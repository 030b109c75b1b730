"""The watermark: unseen, found again after what happens to pictures on their way, never found elsewhere."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from typer.testing import CliRunner

from server.media.mends.vp8_encoder import BitrateBounds, SteadyVp8Encoder
from server.provenance import Watermark
from server.provenance.check import CHANCE, CheckError, Verdict, check_file, check_pictures
from server.provenance.detect import Aligned, Found, agreement, log_chance, search, tile_spectra
from server.provenance.pattern import TILE, carriers, phases, tile
from server.provenance_command import app
from server.targets.store import TargetStore

Picture = npt.NDArray[np.uint8]
SIZES = [256, 512]


@cache
def _portrait(size: int) -> Picture:
    from skimage.data import astronaut

    return np.asarray(cv2.resize(astronaut()[:256, 90:346], (size, size), interpolation=cv2.INTER_AREA))


def _film(size: int, count: int) -> list[Picture]:
    """The portrait, its head moving to and fro before still ground, as generated pictures do."""
    down, across = np.indices((size, size)) / size - 0.5
    head = np.clip(3 - 8 * np.hypot(down, across), 0, 1)[..., None]
    film = []
    for index in range(count):
        swing = np.sin(index / 5)
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), 4 * swing, 1)
        turn[:, 2] += 0.01 * size * swing
        moved = cv2.warpAffine(_portrait(size), turn, (size, size), borderMode=cv2.BORDER_REFLECT)
        film.append(np.asarray(head * moved + (1 - head) * _portrait(size), np.uint8))
    return film


def _grey(picture: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def _marked(picture: Picture) -> Picture:
    marked = picture.copy()
    Watermark(picture.shape[1], picture.shape[0]).apply_rgb(marked)
    return marked


def _through_vp8(pictures: Sequence[Picture], marked: bool = True, bitrate: int = 500_000) -> list[Picture]:
    """What a peer sees (grey): the way of :meth:`Pipeline._hand_over`, then the worker's own encoder."""
    size = pictures[0].shape[0]
    watermark = Watermark(size, size)
    encoder = SteadyVp8Encoder(BitrateBounds(bitrate, bitrate, bitrate))
    decoder: Any = av.CodecContext.create("vp8", "r")
    seen = []
    for index, picture in enumerate(pictures):
        i420 = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
        if marked:
            watermark.apply(i420[:size])
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts, frame.time_base = index * 3600, Fraction(1, 90_000)
        payloads, _ = encoder.encode(frame)
        packet = av.Packet(b"".join(_without_descriptor(payload) for payload in payloads))
        seen += [_grey(shown.to_ndarray(format="rgb24")) for shown in decoder.decode(packet)]
    return seen


def _without_descriptor(payload: bytes) -> bytes:
    from aiortc.codecs.vpx import VpxPayloadDescriptor

    return VpxPayloadDescriptor.parse(payload)[1]


def _half(grey: Picture) -> Picture:
    return np.asarray(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def _check(*greys: Picture) -> Verdict:
    return check_pictures(iter(greys))


# ---------------------------------------------------------------- pattern


def test_the_pattern_is_what_its_key_says_for_good() -> None:
    """Films that exist must be found by every later version: neither key nor carriers may change."""
    rows, columns = carriers()
    assert len(rows) == 652
    assert phases()[:3] == pytest.approx(_FIRST_PHASES, abs=1e-5)
    pattern = tile()
    assert pattern.shape == (TILE, TILE)
    assert abs(float(pattern.mean())) < 1e-6
    assert float(pattern.std()) == pytest.approx(1, abs=1e-5)
    spectrum = np.fft.rfft2(pattern)
    assert np.angle(spectrum[rows, columns] * np.conj(phases())) == pytest.approx(np.zeros(652), abs=1e-4)


_FIRST_PHASES = [(0.811768 + 0.583981j), (-0.350944 + 0.936396j), (0.783326 - 0.621611j)]


# ---------------------------------------------------------------- weaving


@pytest.mark.parametrize("size", SIZES)
def test_it_changes_a_picture_by_little_and_never_its_lightness(size: int) -> None:
    picture = _portrait(size)
    change = _marked(picture).astype(int) - picture
    assert 0 < np.abs(change).max() <= 6
    assert abs(change.mean()) < 0.02
    assert 10 * np.log10(255**2 / np.mean(change**2)) > 44


@pytest.mark.parametrize("ground", [16, 60, 128, 200, 235])
def test_on_flat_ground_it_is_one_grey_level_at_most(ground: int) -> None:
    luma = np.full((256, 256), ground, np.uint8)
    Watermark(256, 256).apply(luma)
    assert np.abs(luma.astype(int) - ground).max() == 1


def test_black_and_white_stay_in_range() -> None:
    for ground in (0, 255):
        picture = np.full((256, 256, 3), ground, np.uint8)
        assert np.abs(_marked(picture).astype(int) - ground).max() <= 2


# ---------------------------------------------------------------- finding


@pytest.mark.parametrize("size", SIZES)
def test_every_frame_is_found_after_vp8_and_half_the_size(size: int) -> None:
    bitrate = 500_000 if size == 256 else 1_000_000
    seen = _through_vp8(_film(size, 6), bitrate=bitrate)
    assert len(seen) == 6
    for grey in seen:
        assert _check(grey).found
        assert _check(_half(grey)).found
    assert not _check(*_through_vp8(_film(size, 3), marked=False, bitrate=bitrate)).found


def test_frames_of_a_film_add_up() -> None:
    """At a bitrate so low that single frames need not be found, some of them together are."""
    seen = _through_vp8(_film(256, 24), bitrate=120_000)
    together = Aligned(256, 256)
    alone = [together.add(grey).z for grey in seen]
    assert together.total().z > np.mean(alone) + 0.5
    assert _check(*seen).found


@pytest.mark.parametrize("size", SIZES)
def test_found_after_jpeg_and_other_contrast(size: int) -> None:
    stored = io.BytesIO()
    Image.fromarray(_marked(_portrait(size))).save(stored, "JPEG", quality=50)
    assert _check(np.asarray(Image.open(stored).convert("L"))).found
    changed = np.clip(_grey(_marked(_portrait(size))) * 0.6 + 40, 0, 255).astype(np.uint8)
    assert _check(changed).found


def test_found_in_a_part_at_another_scale_in_another_picture() -> None:
    shown = cv2.resize(_grey(_marked(_portrait(512))), (670, 670), interpolation=cv2.INTER_LINEAR)
    page = np.full((760, 900), 235, np.uint8)
    page[57:727, 103:773] = shown
    verdict = _check(page)
    assert verdict.found
    assert verdict.searched
    assert verdict.best.scale == pytest.approx(670 / 512, rel=0.01)
    cropped = _check(_grey(_marked(_portrait(256)))[9:, 13:])
    assert cropped.found
    assert cropped.best.offset == (TILE - 9, TILE - 13)


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    store = TargetStore(tmp_path)
    for record in store.built_ins()[:2]:
        assert not _check(_grey(store.load(record.id).images[0])).found
    noise = np.random.default_rng(5)
    for grey in (
        noise.integers(0, 256, (256, 256), np.uint8),
        np.zeros((256, 256), np.uint8),
        np.tile(noise.integers(0, 256, (TILE, TILE), np.uint8), (2, 2)),
        (np.indices((256, 256)).sum(0) // 8 % 2 * 255).astype(np.uint8),
    ):
        assert not _check(grey).found


def test_chance_is_what_it_is_said_to_be() -> None:
    """Over many keys a picture without the watermark agrees as well as claimed, no better."""
    spectrum = tile_spectra(_grey(_portrait(256))).sum((0, 1))
    z = np.array([agreement(spectrum, b"key %d" % index) for index in range(3000)])
    assert abs(z.mean()) < 0.1
    assert z.std() == pytest.approx(1, abs=0.08)
    for level in (1.0, 2.0, 3.0):
        assert np.mean(z >= level) <= 10 ** log_chance(level)
    other = search([_grey(_marked(_portrait(256)))], b"another key")
    assert other.log10_p > CHANCE


# ---------------------------------------------------------------- files and command


def _write_film(path: Path, codec: str, pictures: Sequence[Picture]) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 500_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx")])
def test_films(tmp_path: Path, name: str, codec: str) -> None:
    pictures = _film(256, 12)
    _write_film(tmp_path / name, codec, [_marked(picture) for picture in pictures])
    verdict = check_file(tmp_path / name)
    assert verdict.found
    assert verdict.pictures == 12
    assert verdict.marked >= 10
    _write_film(tmp_path / f"not-{name}", codec, pictures)
    assert not check_file(tmp_path / f"not-{name}").found


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(_marked(_portrait(256))).save(tmp_path / f"marked.{suffix}")
    Image.fromarray(_portrait(256)).save(tmp_path / f"plain.{suffix}")
    assert check_file(tmp_path / f"marked.{suffix}").found
    assert not check_file(tmp_path / f"plain.{suffix}").found


def test_files_that_cannot_be_checked(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no film")
    Image.fromarray(_portrait(256)[:20]).save(tmp_path / "small.png")
    whole = io.BytesIO()
    Image.fromarray(_portrait(256)).save(whole, "PNG")
    (tmp_path / "torn.png").write_bytes(whole.getvalue()[:5000])
    for name, code in {
        "text.png": "unreadable", "torn.png": "unreadable", "text.mp4": "unreadable",
        "small.png": "too_small", "none.png": "not_there",
    }.items():  # fmt: skip
        with pytest.raises(CheckError) as raised:
            check_file(tmp_path / name)
        assert raised.value.code == code


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "tif", "mp4"])
def test_damaged_files_are_named_not_crashed_on(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "server.provenance.check.search", lambda greys: Found(0.0, 0.0)
    )  # takes a second each
    chance, path = np.random.default_rng(3), tmp_path / f"whole.{suffix}"
    pictures = _film(64, 3)
    if suffix == "mp4":
        _write_film(path, "libx264", pictures)
    else:
        first, *others = map(Image.fromarray, pictures)
        first.save(path, save_all=suffix != "png", **({} if suffix == "png" else {"append_images": others}))
    whole = path.read_bytes()
    for _ in range(60):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = chance.integers(0, chance.choice([150, len(whole)]), 5)
        damaged[places] = chance.integers(0, 256, 5)
        path.write_bytes(damaged[: chance.integers(len(whole) // 2, len(whole))].tobytes())
        with suppress(CheckError):
            check_file(path)


def test_the_command_says_it_to_people_and_programs(tmp_path: Path) -> None:
    marked, plain = tmp_path / "marked.png", tmp_path / "plain.png"
    Image.fromarray(_marked(_portrait(256))).save(marked)
    Image.fromarray(_portrait(256)).save(plain)
    run = CliRunner().invoke
    assert run(app, ["check", str(marked)]).exit_code == 0
    both = run(app, ["check", str(marked), str(plain)])
    assert both.exit_code == 1
    assert "generated by Understudy" in both.output
    assert "no watermark found" in both.output
    result = run(app, ["check", "--json", str(marked), str(plain), str(tmp_path / "none.png")])
    assert result.exit_code == 2
    first, second, third = json.loads(result.stdout)
    assert first["found"]
    assert first["log10_p"] <= CHANCE
    assert not second["found"]
    assert third["error"] == "not_there"
    folder = run(app, ["check", str(tmp_path)])
    assert folder.exit_code == 2
    assert f"{tmp_path}: this is a folder; name the files in it. (unreadable)" in folder.output
