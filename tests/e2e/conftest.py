"""Fixtures of the end-to-end tests: films for cameras, the service, browsers, people in them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from models.mesh_warp import MeshWarpGenerator
from server.bench.chromium import MISSING, find_chromium, launch_with_camera
from server.bench.clip import astronaut, one_thread, performance, write_tone, write_y4m
from tests.e2e.participant import Participant
from tests.e2e.pictures import decode
from tests.e2e.service import Service

FILM_FPS = 25
ROOT = Path(__file__).parents[2]
#: Pictures for people to look at; not part of the source tree.
OUT = ROOT / "out" / "e2e"

PersonFactory = Callable[[int], Participant]


@dataclass(frozen=True)
class Film:
    """What a browser's camera and microphone give: a face that performs on magenta, and a tone."""

    video: Path
    audio: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(300))  # the first one of a module starts everything


@pytest.fixture(scope="package")
def out() -> Path:
    """Folder for screenshots."""
    OUT.mkdir(parents=True, exist_ok=True)
    return OUT


@pytest.fixture(scope="package")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Film]:
    """Two drivers' cameras: the astronaut, and the same face mirrored; neither sends what it is seen as."""
    folder = tmp_path_factory.mktemp("films")
    image, landmarks = astronaut()
    with one_thread():
        frames = list(performance(MeshWarpGenerator(size=256), image, landmarks, FILM_FPS))
    films = []
    for index in range(2):
        film = Film(folder / f"driver-{index}.y4m", folder / f"driver-{index}.wav")
        turned = (np.ascontiguousarray(frame[:, ::-1]) for frame in frames) if index == 1 else iter(frames)
        write_y4m((cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420) for frame in turned), film.video, FILM_FPS)
        write_tone(film.audio, hertz=440.0 + 220 * index)
        films.append(film)
    return films


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The running service, shared by all tests; its log is printed when it does not end well."""
    service = Service(tmp_path_factory.mktemp("service"), UNDERSTUDY_LOG_LEVEL="info")
    service.start()
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="package")
def gallery(service: Service) -> dict[str, np.ndarray]:
    """The built-in targets' pictures by id."""
    targets = service.get("/api/targets")["targets"]
    return {target["id"]: decode(service.read(target["image"])) for target in targets}


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    # Package-wide, no longer: its event loop would be in the way of asynchronous tests elsewhere.
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browsers(playwright: Playwright, films: list[Film]) -> Iterator[list[Browser]]:
    """Two Chromium processes, each with a camera of its own."""
    if (path := find_chromium()) is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    launched = [launch_with_camera(playwright, path, film.video, film.audio) for film in films]
    yield launched
    for browser in launched:
        browser.close()


_rooms = itertools.count(1)


@pytest.fixture(scope="module")
def room() -> str:
    """A room of this module's own."""
    return f"room-{next(_rooms)}"


@pytest.fixture(scope="module")
def person(browsers: list[Browser], service: Service) -> Iterator[PersonFactory]:
    """Makes participants: ``person(0)`` in the first browser, ``person(1)`` in the second."""
    probe = (Path(__file__).parent / "probe.js").read_text()
    contexts = []

    def make(index: int) -> Participant:
        context = browsers[index].new_context(
            permissions=["camera", "microphone"], viewport={"width": 1100, "height": 720}
        )
        contexts.append(context)
        context.add_init_script(probe)
        return Participant(context.new_page(), service.url)

    yield make
    for context in contexts:
        context.close()
