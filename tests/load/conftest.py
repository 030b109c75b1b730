"""What load tests share: a short film, encoded once, and services that do right or wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from server.bench.clip import BACKGROUND, HEIGHT, WIDTH, encode_opus, encode_vp8
from server.bench.driver import Film
from tests.load.service import FakeService, Showing


@pytest.fixture(scope="session")
def film() -> Film:
    """One second of a nodding face before the synthetic camera's background."""

    def frames() -> list[np.ndarray]:
        face = cv2.resize(data.astronaut()[:400, 60:460], (440, 440), interpolation=cv2.INTER_AREA)
        made = []
        for number in range(15):
            frame = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
            top = 20 + round(8 * np.sin(2 * np.pi * number / 15))
            frame[top : top + 440, 100:540] = face
            made.append(frame)
        return made

    return Film(encode_vp8(iter(frames()), 15), encode_opus(1.0), 15)


Serve = Callable[..., Awaitable[FakeService]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts a service whose worker shows what a test wants it to show."""
    services: list[FakeService] = []

    async def begin(showing: Showing = Showing.TARGET, **settings: object) -> FakeService:
        service = FakeService(tmp_path, showing)
        services.append(service)
        await service.start(**settings)
        return service

    yield begin
    for service in services:
        await service.stop()
