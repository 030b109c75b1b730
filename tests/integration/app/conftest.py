"""A running application with a client, and photos to upload."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image
from skimage import data

from server.app import AppConfig, build_app

PAGE = Path(__file__).parent / "page"


def encoded(image: Image.Image, format_: str = "JPEG", **options: object) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A photo of one person, 512x512."""
    return Image.fromarray(data.astronaut())


@pytest.fixture
def page_dir(tmp_path: Path) -> Path:
    """A small page in place of the client's."""
    page = tmp_path / "page"
    (page / "js").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html><title>x</title>")
    (page / "app.css").write_text("body{}")
    (page / "js" / "main.js").write_text("export {};")
    (page / "notes.py").write_text("secret = 1")
    (page / ".hidden.js").write_text("secret")
    (tmp_path / "outside.js").write_text("secret")
    (page / "link.js").symlink_to(tmp_path / "outside.js")
    return page


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path, page_dir: Path) -> AsyncIterator[Start]:
    """Starts an application; keyword arguments change its :class:`AppConfig`."""
    clients: list[TestClient] = []

    async def starting(**changes: Any) -> TestClient:
        config = replace(AppConfig(data_dir=tmp_path / "data", client_dir=page_dir), **changes)
        client: TestClient = TestClient(TestServer(build_app(config)))
        await client.start_server()
        clients.append(client)
        return client

    yield starting
    for client in clients:
        await client.close()


@pytest.fixture
async def client(start: Start) -> TestClient:
    """A client of an application with the default limits."""
    return await start()


def form(*photos: tuple[str, bytes], consent: str | None = "true", text: str | None = "I may.") -> FormData:
    """An upload as the page sends it."""
    data = FormData(quote_fields=False, default_to_multipart=True)
    if consent is not None:
        data.add_field("consent", consent)
    if text is not None:
        data.add_field("consent_text", text)
    for name, content in photos:
        data.add_field("photos", content, filename=name, content_type="application/octet-stream")
    return data
