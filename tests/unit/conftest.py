"""What unit tests of several folders share: a browser for the page's own tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from server.bench.chromium import MISSING, find_chromium

_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium with a camera that shows a test pattern; the test is left out without one, except in CI."""
    if (path := find_chromium()) is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=list(_ARGUMENTS), ignore_default_args=["--headless"]
        )
        yield browser
        await browser.close()
