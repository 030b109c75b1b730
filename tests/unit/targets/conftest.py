"""What tests of targets share: a photo with one face, and ways to encode it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from server.targets import Consent, TargetStore


def encoded(image: Image.Image, format_: str = "JPEG", **options: object) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A photo of one person, 512x512."""
    return Image.fromarray(data.astronaut())


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> TargetStore:
    """A store of its own, with the built-in targets, whose uploads live for 100 s."""
    return TargetStore(tmp_path, ttl_s=100.0, clock=clock)


CONSENT = Consent("I may use these photos.", 1_700_000_000.0)


def crops(count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Crops and landmarks of no particular face."""
    random = np.random.default_rng(7)
    images = random.integers(0, 255, (count, 512, 512, 3), dtype=np.uint8)
    return images, random.uniform(0, 512, (count, 478, 3)).astype(np.float32)
