"""Preparing photos: exactly one face, large enough, in a process that may break without breaking anything."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from server.animation.subjects import subject_of_photos
from server.targets.decode import PhotoLimits
from server.targets.errors import PhotoRefused, PreparationFailed
from server.targets.faces import PhotoPreparer, _tiles
from server.targets.pool import PoolOptions, PreparationPool

from .conftest import encoded
from .test_decode import mutated


@pytest.fixture(scope="module")
def preparer() -> Iterator[PhotoPreparer]:
    with PhotoPreparer(PhotoLimits()) as preparer:
        yield preparer


def refusal(preparer: PhotoPreparer, image: Image.Image) -> PhotoRefused:
    with pytest.raises(PhotoRefused) as refused:
        preparer.prepare(encoded(image, "PNG"))
    return refused.value


def on_canvas(size: tuple[int, int], *pasted: tuple[Image.Image, tuple[int, int]]) -> Image.Image:
    canvas = Image.new("RGB", size, (150, 160, 170))
    for image, place in pasted:
        canvas.paste(image, place)
    return canvas


def test_one_face_becomes_a_crop_with_landmarks(preparer: PhotoPreparer, photo: Image.Image) -> None:
    prepared = preparer.prepare(encoded(photo))
    assert prepared.crop.shape == (512, 512, 3)
    assert prepared.landmarks.shape == (478, 3)
    assert prepared.landmarks.dtype == np.float32
    points = prepared.landmarks[:, :2]
    extent = np.ptp(points, axis=0).max()
    assert extent == pytest.approx(512 / 1.9, rel=0.05)
    assert points.mean(axis=0) == pytest.approx([256, 256], abs=20)
    mouth = points[[13, 14]].mean(axis=0)
    assert mouth[1] > points[:, 1].mean()


def test_two_faces_are_refused(preparer: PhotoPreparer, photo: Image.Image) -> None:
    assert (
        refusal(preparer, on_canvas((1024, 512), (photo, (0, 0)), (photo, (512, 0)))).code == "several_faces"
    )


def test_a_second_small_face_far_away_in_a_large_photo_is_seen(
    preparer: PhotoPreparer, photo: Image.Image
) -> None:
    # 5 % of the width: what a detector that looks at the whole photo at once does not find.
    large = photo.resize((1400, 1400))
    image = on_canvas((3600, 2400), (large, (0, 900)), (photo, (3000, 100)))
    assert refusal(preparer, image).code == "several_faces"
    assert preparer.prepare(encoded(on_canvas((3600, 2400), (photo, (3000, 100))))).crop.shape[0] == 512


def test_a_small_face_is_refused_with_its_size(preparer: PhotoPreparer, photo: Image.Image) -> None:
    refused = refusal(preparer, on_canvas((800, 600), (photo.resize((256, 256)), (100, 100))))
    assert refused.code == "face_too_small"
    assert "5" in refused.message
    assert "80" in refused.message


def test_a_small_face_beside_a_large_one_does_not_count(preparer: PhotoPreparer, photo: Image.Image) -> None:
    image = on_canvas((900, 512), (photo, (0, 0)), (photo.resize((200, 200)), (650, 100)))
    assert preparer.prepare(encoded(image, "PNG")).crop.shape == (512, 512, 3)


def test_no_face(preparer: PhotoPreparer, photo: Image.Image) -> None:
    assert refusal(preparer, Image.new("RGB", (640, 480), (90, 120, 60))).code == "no_face"
    assert refusal(preparer, photo.rotate(180)).code == "no_face"
    assert refusal(preparer, Image.new("RGB", (1, 1))).code == "no_face"
    assert refusal(preparer, Image.new("RGB", (9000, 2))).code == "no_face"


def test_a_photo_lying_on_its_side_is_turned_by_its_exif(preparer: PhotoPreparer, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(photo.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif.tobytes(), quality=95)
    upright = preparer.prepare(encoded(photo, "JPEG", quality=95))
    turned = preparer.prepare(content)
    assert np.abs(turned.landmarks[:, :2] - upright.landmarks[:, :2]).mean() < 2


@pytest.mark.parametrize(("width", "height"), [(640, 480), (7700, 5190), (40_000, 1000), (80, 80)])
def test_tiles_cover_the_photo_down_to_the_smallest_face(width: int, height: int) -> None:
    tiles = list(_tiles(width, height, 80))
    smallest = min(max(tile.width, tile.height) for tile in tiles)
    assert smallest <= max(80 / 0.085, max(width, height) if max(width, height) < 900 else 0)
    assert len(tiles) < 400
    covered = np.zeros((height // 10 + 1, width // 10 + 1), bool)
    for tile in tiles[1:] or tiles:
        assert tile.x >= 0
        assert tile.x + tile.width <= width + 1e-6
        assert tile.y + tile.height <= height + 1e-6
        top, left = int(tile.y / 10), int(tile.x / 10)
        covered[top : int((tile.y + tile.height) / 10) + 1, left : int((tile.x + tile.width) / 10) + 1] = True
    assert covered.all()


def test_a_closed_preparer_leaves_no_threads(preparer: PhotoPreparer) -> None:
    preparer.warm_up()  # what other libraries start stays
    threads = psutil.Process().num_threads
    before = threads()
    with PhotoPreparer(PhotoLimits()) as another:
        another.warm_up()
        assert threads() > before
    assert threads() <= before
    another.close()


def test_animating_photos_leaves_no_threads(
    preparer: PhotoPreparer, photo: Image.Image, tmp_path: Path
) -> None:
    """Nor does one that is refused."""
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(encoded(photo, "PNG"))
    bad.write_bytes(encoded(Image.new("RGB", (300, 300)), "PNG"))
    preparer.prepare(good.read_bytes())
    before = psutil.Process().num_threads()
    assert len(subject_of_photos([good]).images) == 1
    with pytest.raises(PhotoRefused):
        subject_of_photos([good, bad])
    assert psutil.Process().num_threads() <= before


# ---------------------------------------------------------------- the process


@pytest.fixture
async def pool() -> AsyncIterator[PreparationPool]:
    pool = PreparationPool(PoolOptions(timeout_s=10.0))
    yield pool
    await pool.close()
    assert pool.pid is None


async def test_photos_are_prepared_in_another_process(pool: PreparationPool, photo: Image.Image) -> None:
    assert pool.pid is None
    crops = await asyncio.gather(*(pool.prepare(encoded(photo)) for _ in range(3)))
    assert pool.pid not in (None, os.getpid())
    assert all((crop == crops[0][0]).all() for crop, _ in crops)
    with pytest.raises(PhotoRefused) as refused:
        await pool.prepare(b"nonsense")
    assert refused.value.code == "unsupported_format"


async def test_the_process_has_no_secrets(pool: PreparationPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_WORKER_SECRET", "hidden")
    await pool.warm_up()
    assert pool.pid is not None
    assert not any("hidden" in value for value in psutil.Process(pool.pid).environ().values())


async def test_a_photo_that_takes_too_long_is_given_up(pool: PreparationPool, photo: Image.Image) -> None:
    await pool.warm_up()
    pool.options = PoolOptions(timeout_s=0.3)
    pid = pool.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(PhotoRefused) as refused:
        await pool.prepare(encoded(photo))
    assert refused.value.code == "timed_out"
    assert time.monotonic() - started < 5
    assert not psutil.pid_exists(pid)
    pool.options = PoolOptions()
    assert (await pool.prepare(encoded(photo)))[0].shape == (512, 512, 3)


async def test_a_process_that_dies_is_replaced(pool: PreparationPool, photo: Image.Image) -> None:
    await pool.warm_up()
    pid = pool.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(pool.prepare(encoded(photo)))
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(PhotoRefused) as refused:
        await waiting
    assert refused.value.code == "unreadable"
    assert (await pool.prepare(encoded(photo)))[0].shape == (512, 512, 3)
    assert pool.pid != pid


async def test_a_cancelled_caller_does_not_get_anothers_answer(
    pool: PreparationPool, photo: Image.Image
) -> None:
    await pool.warm_up()
    waiting = asyncio.create_task(pool.prepare(encoded(photo)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(PhotoRefused) as refused:
        await pool.prepare(encoded(Image.new("RGB", (300, 300))))
    assert refused.value.code == "no_face"


async def test_memory_is_bounded(photo: Image.Image) -> None:
    pool = PreparationPool(PoolOptions(memory_bytes=300 * 1024 * 1024))
    try:
        large = Image.new("RGBA", (6300, 6300))
        with pytest.raises(PhotoRefused) as refused:
            await pool.prepare(encoded(large, "PNG", compress_level=1))
        assert refused.value.code == "unreadable"
        assert (await pool.prepare(encoded(photo)))[0].shape == (512, 512, 3)
    finally:
        await pool.close()


async def test_the_process_is_replaced_after_many_photos(photo: Image.Image) -> None:
    pool = PreparationPool(PoolOptions(recycle_after=2))
    try:
        await pool.warm_up()
        first = pool.pid
        await pool.prepare(encoded(photo))
        assert pool.pid == first
        await pool.prepare(encoded(photo))
        await pool.prepare(encoded(photo))
        assert pool.pid not in (None, first)
    finally:
        await pool.close()


async def test_a_closed_pool_says_so(pool: PreparationPool, photo: Image.Image) -> None:
    await pool.close()
    with pytest.raises(PreparationFailed):
        await pool.prepare(encoded(photo))


async def test_the_process_ends_when_its_parent_does(pool: PreparationPool) -> None:
    await pool.warm_up()
    process = pool._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_malformed_photos_never_break_the_process(pool: PreparationPool, photo: Image.Image) -> None:
    chance = random.Random(11)
    seeds = [encoded(photo.crop((130, 20, 330, 220)), format_) for format_ in ("JPEG", "PNG", "WEBP")]
    await pool.warm_up()
    first = pool.pid
    outcomes: set[str] = set()
    for k in range(150):
        try:
            await pool.prepare(mutated(seeds[k % 3], chance))
            outcomes.add("ok")
        except PhotoRefused as refused:
            outcomes.add(refused.code)
    assert pool.pid == first
    assert {"ok", "unreadable"} <= outcomes
