"""A driver as the worker holds it: how many pictures each of its viewers gets."""

from __future__ import annotations

from unittest.mock import create_autospec

from server.media.driver import Driver
from server.media.interfaces import Inference
from server.media.pictures import MAX_FPS, OWN_FPS
from signaling.protocol import DriverUpdate


def update(*viewers: str) -> DriverUpdate:
    return DriverUpdate(
        terminal="ada", name="Ada", target="astronaut", camera=True, microphone=True, viewers=list(viewers)
    )  # fmt: skip


def test_oneself_gets_fewer_pictures_while_others_look_on() -> None:
    """In the lobby the own picture is the large one; in a call it is small."""
    driver = Driver(update(), create_autospec(Inference, instance=True), 1.0, MAX_FPS, lambda: None)
    assert driver.fps_for("ada") == MAX_FPS
    driver.change(update("ben"))
    assert driver.fps_for("ada") == OWN_FPS < MAX_FPS
    assert driver.fps_for("ben") == MAX_FPS
    driver.change(update())
    assert driver.fps_for("ada") == MAX_FPS
