"""A call with a fake inference; everything in it is closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.media.harness import Call


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    made = Call()
    yield made
    await made.close()
