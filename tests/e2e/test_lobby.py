"""Before the call: the live preview, choosing, and a target of one's own photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from skimage.data import astronaut, coffee

from tests.e2e.conftest import PersonFactory
from tests.e2e.participant import Participant
from tests.e2e.pictures import decode, distance, recognise
from tests.e2e.service import Service
from tests.e2e.test_call import LEAK


@pytest.fixture(scope="module")
def visitor(person: PersonFactory) -> Participant:
    visitor = person(0)
    visitor.open()
    return visitor


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A photo of one person, sepia so that it is like no target, and one of a cup."""
    folder = tmp_path_factory.mktemp("photos")
    grey = astronaut()[:, ::-1].mean(axis=-1, keepdims=True)
    sepia = (grey * np.array([1.0, 0.62, 0.30])).astype(np.uint8)
    Image.fromarray(sepia).save(folder / "face.jpg", quality=92)
    Image.fromarray(coffee()).save(folder / "cup.png")
    return [folder / "face.jpg", folder / "cup.png"]


def choose(visitor: Participant, target: str) -> None:
    visitor.page.locator(f'#lobby-gallery [data-target="{target}"]').click()


def test_visitors_see_themselves_as_the_target_before_joining(
    visitor: Participant, gallery: dict[str, np.ndarray], out: Path
) -> None:
    visitor.expect_state("lobby")
    visitor.watch()
    target = next(target for target in gallery if target != "astronaut")
    choose(visitor, target)
    visitor.wait_for_frames("lobby-self", 10)
    visitor.eventually(lambda: recognise(visitor.picture("lobby-self"), gallery) == target, "the preview")
    assert visitor.seen("lobby-self").magenta < LEAK
    visitor.page.screenshot(path=out / "lobby.png")


def test_preview_follows_the_choice(visitor: Participant, gallery: dict[str, np.ndarray]) -> None:
    for target in list(gallery)[-2:]:
        choose(visitor, target)
        visitor.eventually(lambda: recognise(visitor.picture("lobby-self"), gallery) == target, target)  # noqa: B023


def test_upload_needs_the_statement_of_consent(visitor: Participant, photos: list[Path]) -> None:
    visitor.page.locator('#lobby-gallery [data-action="open-upload"]').click()
    visitor.page.locator("#photos").set_input_files(photos[0])
    visitor.page.locator('[data-action="upload"]').click()
    expect(visitor.page.locator("#upload-status")).to_contain_text("agreement")


def test_photo_without_a_face_is_named(visitor: Participant, photos: list[Path], out: Path) -> None:
    visitor.page.locator("#photos").set_input_files(photos[1])
    visitor.page.locator("#consent").check()
    visitor.page.locator('[data-action="upload"]').click()
    wrong = visitor.page.locator("#photo-list li.wrong")
    expect(wrong).to_have_count(1, timeout=30_000)
    expect(wrong).to_contain_text("cup.png")
    visitor.page.screenshot(path=out / "upload.png")
    wrong.locator("button").click()


def test_own_photo_becomes_the_target(
    visitor: Participant, service: Service, gallery: dict[str, np.ndarray]
) -> None:
    visitor.page.locator('[data-action="upload"]').click()
    expect(visitor.page.locator("#upload-dialog")).to_be_hidden(timeout=30_000)
    own = visitor.page.locator("#lobby-gallery .target-own [data-target]")
    expect(own).to_have_count(1)
    target = own.get_attribute("data-target")
    picture = decode(service.read(f"/api/targets/{target}/image"))

    def preview_is_it() -> bool:
        shown = visitor.picture("lobby-self")
        return distance(shown, picture) < min(distance(shown, other) for other in gallery.values())

    visitor.eventually(preview_is_it, "the preview as the uploaded face")
    assert target not in {t["id"] for t in service.get("/api/targets")["targets"]}


def test_own_target_can_be_deleted(visitor: Participant, service: Service) -> None:
    own = visitor.page.locator("#lobby-gallery .target-own [data-target]")
    target = own.get_attribute("data-target")
    visitor.page.locator("#lobby-gallery .target-delete").click()
    visitor.page.locator('[data-action="delete-confirm"]').click()
    expect(own).to_have_count(0)
    with pytest.raises(OSError, match="404"):
        service.read(f"/api/targets/{target}/image")


def test_joining_by_the_form_leads_into_the_room(visitor: Participant) -> None:
    visitor.page.locator("#name").fill("")
    visitor.page.locator('[data-action="join"]').click()
    expect(visitor.page.locator("#name-error")).not_to_be_empty()
    visitor.page.locator("#name").fill("Ada")
    visitor.page.locator("#room").fill("the-lobby-test")
    visitor.page.locator('[data-action="join"]').click()
    visitor.expect_state("ringing")
    assert "room=the-lobby-test" in visitor.page.url
    problems = [p for p in visitor.problems if "/api/targets" not in p]  # the refused photo is one
    assert problems == []
