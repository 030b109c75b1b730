"""What tests of animation share: animators of built-in targets, and a drawn clip with sound."""

from __future__ import annotations

import wave
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.animation.animator import Animator
from models.mesh_warp import MeshWarpGenerator
from models.templates.library import Library
from models.templates.timeline import Timeline
from server.animation.encode import writing
from server.targets.store import TargetStore

STORE = TargetStore(Path("unused"))


@cache
def animator(target: str, size: int = 256) -> Animator:
    kept = STORE.load(target)
    return Animator(MeshWarpGenerator(size), kept.images, kept.landmarks)


def tone(path: Path, seconds: float, rate: int = 48000) -> Path:
    """A sound file: a beep of 0.1 s at the start of each second."""
    time = np.arange(round(seconds * rate)) / rate
    samples = np.where(time % 1.0 < 0.1, np.sin(2 * np.pi * 880 * time), 0.0) * 12000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def performance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A driver's clip, 3 s at 20 frames a second with sound: a drawn woman at rest, then happy, and back."""
    folder = tmp_path_factory.mktemp("performance")
    path = folder / "driver.mp4"
    rest = [animator("ines", 512).still] * 22
    samples = Timeline([Library().find("happy")], seconds=1.9, play="return").frames(20)
    sound = tone(folder / "sound.wav", 3.0)
    with writing(path, "mp4", 20, sound=sound) as writer:
        for picture in [*rest, *animator("ines", 512).play(samples)]:
            writer.write(picture)
    return path
