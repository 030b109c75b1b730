"""The page in a real browser, in front of a scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page

from tests.unit.client.scripted import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    await scripted.server.start_server()
    yield scripted
    await scripted.server.close()


@pytest.fixture
async def page(browser: Browser, server: ScriptedServer) -> AsyncIterator[Page]:
    """A page that must have had nothing to complain of by the end of the test."""
    page = await browser.new_page(viewport={"width": 1200, "height": 800})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    yield page
    await page.close()  # before the server goes, which the page would complain of
    assert complaints == []
