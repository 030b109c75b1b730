"""Serves the page: ``index.html`` at ``/`` and the files of ``client/`` under ``/static/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from server.api_errors import error_of_status

DEFAULT_CLIENT: Final = Path(__file__).resolve().parent.parent / "client"

# Only these kinds are served, and with these types whatever the machine's own table says.
_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}


class Page:
    """The client's files; a browser keeps them but asks each time whether they changed (ETag).

    Args:
        root: the folder of the client.
    """

    def __init__(self, root: Path = DEFAULT_CLIENT) -> None:
        self._root = root.resolve()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Put the page into an application."""
        router.add_get("/", self.index)
        router.add_get("/favicon.ico", self.favicon)
        router.add_get("/static/{path:.+}", self.static)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """GET /"""
        return self._file("index.html")

    async def favicon(self, request: web.Request) -> web.StreamResponse:
        """GET /favicon.ico: browsers ask for it unasked; the client's icon if it has one."""
        for name in ("favicon.ico", "favicon.svg", "icon.svg"):
            if (self._root / name).is_file():
                return self._file(name)
        return web.Response(status=204)

    async def static(self, request: web.Request) -> web.StreamResponse:
        """GET /static/<path>"""
        return self._file(request.match_info["path"])

    def _file(self, relative: str) -> web.StreamResponse:
        try:
            path = (self._root / relative).resolve()
            inside = path.is_relative_to(self._root) and path.is_file()
        except (OSError, ValueError):  # a name too long, a zero byte
            raise error_of_status(404) from None
        hidden = any(part.startswith(".") for part in path.parts[len(self._root.parts) :])
        content_type = _TYPES.get(path.suffix.lower())
        if not inside or hidden or content_type is None:
            raise error_of_status(404)
        return web.FileResponse(path, headers={"Content-Type": content_type, "Cache-Control": "no-cache"})
