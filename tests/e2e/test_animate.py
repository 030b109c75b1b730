"""Bringing a photo to life in the page: previews, a result that plays, cancelling, what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from skimage.data import astronaut

from tests.e2e.conftest import PersonFactory
from tests.e2e.participant import Participant
from tests.e2e.pictures import brow_heights

#: The visible mark stands in the lower right corner.
UNMARKED = (slice(0, 216), slice(0, 256))
WORKING_S = 60.0


@pytest.fixture(scope="module")
def visitor(person: PersonFactory) -> Participant:
    visitor = person(0)
    visitor.page.goto(f"{visitor.url}/", wait_until="domcontentloaded")
    return visitor


def test_the_lobby_leads_there_and_back(visitor: Participant) -> None:
    page = visitor.page
    expect(page.locator("#raw")).to_be_visible()
    page.locator('a[href="#animate"]').click()
    expect(page.locator("#animate-title")).to_be_focused()
    expect(page.locator("#lobby")).to_be_hidden()
    visitor.eventually(lambda: not visitor.details()["me"]["camera"], "the camera to be off")
    page.go_back()
    expect(page.locator("#lobby")).to_be_visible()
    expect(page.locator("#animate")).to_be_hidden()
    visitor.eventually(lambda: visitor.details()["me"]["camera"], "the camera to be on again")
    page.go_forward()
    expect(page.locator("#animate")).to_be_visible()


def test_previews_show_every_expression_on_the_chosen_face(visitor: Participant, out: Path) -> None:
    page = visitor.page
    page.locator('#animate-gallery [data-target="marguerite"]').click()
    expect(page.locator("#studio-photo")).to_have_attribute("src", "/api/targets/marguerite/image")
    count = page.locator(".expression").count()
    assert count >= 9
    expect(page.locator(".expression.moving")).to_have_count(count, timeout=1000 * WORKING_S)
    page.screenshot(path=out / "animate-previews.png", full_page=True)
    video = page.locator('[data-expression="surprised"] video')
    rest = video.evaluate("video => video.currentTime")
    page.locator('[data-expression="surprised"]').hover()
    visitor.eventually(
        lambda: abs(video.evaluate("video => video.paused ? 0 : video.currentTime") - rest) > 0.1,
        "the preview to move",
    )


def test_a_result_plays_and_begins_with_the_photo(
    visitor: Participant, gallery: dict[str, np.ndarray], out: Path, tmp_path: Path
) -> None:
    page = visitor.page
    page.locator('[data-expression="surprised"]').click()
    page.locator('[name="play"][value="once"]').check(force=True)
    page.locator('[data-action="animate"]').click()
    expect(page.locator('[data-action="animate"]')).to_be_disabled()
    expect(page.locator("#download")).to_be_visible(timeout=1000 * WORKING_S)
    film = page.locator("#studio-film")
    visitor.eventually(lambda: film.evaluate("film => film.currentTime") > 0.2, "the result to play")
    assert film.evaluate("film => [film.videoWidth, film.videoHeight]") == [256, 256]
    assert abs(film.evaluate("film => film.duration") - 2.0) < 0.1
    page.screenshot(path=out / "animate-result.png")
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename.endswith(("surprised.mp4", "surprised.webm"))
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 50
    first = np.abs(pictures[0].astype(int) - gallery["marguerite"])[UNMARKED].mean()
    last = np.abs(pictures[-1].astype(int) - gallery["marguerite"])[UNMARKED].mean()
    assert first < 4.0, "the first frame is the photo"
    assert last > first + 1.0, "the last one is not"
    begin, end = brow_heights([pictures[0], pictures[-1]])
    assert end > 1.08 * begin


def test_own_photos_move_as_a_whole(visitor: Participant, tmp_path: Path) -> None:
    page = visitor.page
    photo = tmp_path / "wide.jpg"
    Image.fromarray(np.pad(astronaut(), ((0, 0), (60, 60), (0, 0)), mode="edge")).save(photo, quality=92)
    whole = page.locator('[name="part"][value="whole"]')
    expect(whole).to_be_disabled()
    page.locator('#animate-gallery [data-action="open-upload"]').click()
    page.locator("#photos").set_input_files(photo)
    page.locator("#consent").check()
    page.locator('[data-action="upload"]').click()
    expect(page.locator("#upload-dialog")).to_be_hidden(timeout=30_000)
    expect(whole).to_be_enabled()
    whole.check(force=True)
    page.locator("#animate-format").select_option("webp")
    page.locator('[data-action="animate"]').click()
    expect(page.locator("#studio-moving")).to_be_visible(timeout=1000 * WORKING_S)
    with page.expect_download() as download:
        page.locator("#download").click()
    path = tmp_path / "moving.webp"
    download.value.save_as(path)
    with Image.open(io.BytesIO(path.read_bytes())) as moving:
        assert getattr(moving, "n_frames", 1) > 8  # pictures that are alike are one, held longer
        assert moving.width > moving.height


def test_cancelling_and_what_is_refused_are_said_in_words(visitor: Participant, tmp_path: Path) -> None:
    page = visitor.page
    page.locator('[data-action="animate"]').click()
    page.locator('[data-action="animate-cancel"]').click()
    expect(page.locator("#studio-status")).to_have_text("Cancelled.")
    expect(page.locator("#studio-photo")).to_be_visible()
    page.locator('[data-action="animate-clear"]').click()
    page.locator('[data-action="animate"]').click()
    expect(page.locator("#studio-status")).to_contain_text("at least one expression")
    page.locator('[name="motion"][value="clip"]').check(force=True)
    clip = tmp_path / "notes.mp4"
    clip.write_bytes(b"these are no pictures" * 100)
    page.locator("#animate-clip").set_input_files(clip)
    page.locator('[data-action="animate"]').click()
    expect(page.locator("#studio-status")).to_contain_text("cannot be read", timeout=1000 * WORKING_S)
    assert visitor.problems == []
