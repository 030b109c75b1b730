"""Chromium, for the benchmark and the tests that hold calls in it: where it is, how to start it unseen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

__all__ = ["MISSING", "find_chromium", "launch_with_camera"]

MISSING: Final = "No Chromium was found; scripts/system_packages.sh browser installs it."
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)


def find_chromium() -> str | None:
    """Path of an installed Chromium or Chrome; None without one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def launch_with_camera(playwright: Playwright, path: str, video: Path, audio: Path) -> Browser:
    """Start a browser whose camera and microphone give films, and which asks nobody for leave.

    Args:
        playwright: that drives it.
        path: of the browser.
        video: the camera's film, ``.y4m`` or ``.mjpeg``; it begins again at its end.
        audio: the microphone's sound, ``.wav``.
    """
    return playwright.chromium.launch(
        executable_path=path,
        ignore_default_args=["--headless", "--mute-audio"],
        args=[
            *_ARGUMENTS,
            f"--use-file-for-fake-video-capture={video}",
            f"--use-file-for-fake-audio-capture={audio}",
        ],
    )
