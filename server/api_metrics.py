"""What the main process counts, and /metrics: its own figures merged with the media workers'."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Final

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from server.api_errors import Handler
from server.bodies import read_whole

_SCRAPE_TIMEOUT_S: Final = 1.0
_SCRAPE_BYTES: Final = 4 * 1024 * 1024
_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class ApiMetrics:
    """The metrics of HTTP and of uploads, in a registry of this application's own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "understudy_http_requests",
            "Answered HTTP requests by route, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "understudy_http_request_seconds",
            "Time to answer an HTTP request (WebSockets not counted).",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.uploads = Counter(
            "understudy_uploads",
            "Uploads by outcome: created, or the error's code.",
            ["outcome"],
            registry=self.registry,
        )
        self.photos_refused = Counter(
            "understudy_photos_refused", "Uploaded photos refused, by code.", ["code"], registry=self.registry
        )
        self.preparation_seconds = Histogram(
            "understudy_photo_preparation_seconds",
            "Time to prepare one uploaded photo, waiting for its turn included.",
            buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
            registry=self.registry,
        )
        self.uploaded_targets = Gauge(
            "understudy_uploaded_targets", "Uploaded targets kept now.", registry=self.registry
        )

    def middleware(self) -> object:
        """Counts and times every request by its route's pattern: an address may hold a capability."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unmatched"
            started = time.perf_counter()
            response = await handler(request)
            self.requests.labels(route, request.method, str(response.status)).inc()
            if not isinstance(response, web.WebSocketResponse):
                self.request_seconds.labels(route).observe(time.perf_counter() - started)
            return response

        return count


class MetricsEndpoint:
    """GET /metrics.

    Args:
        registries: of this process.
        worker_urls: addresses of media workers' metrics; one that does not answer, or with more than any
            worker has to say, is left out.
    """

    def __init__(self, registries: Iterable[CollectorRegistry], worker_urls: Sequence[str] = ()) -> None:
        self._registries = list(registries)
        self._worker_urls = list(worker_urls)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the text format of Prometheus."""
        texts = [generate_latest(registry).decode() for registry in self._registries]
        if self._worker_urls:
            timeout = aiohttp.ClientTimeout(total=_SCRAPE_TIMEOUT_S)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                texts += await asyncio.gather(*(_scrape(session, url) for url in self._worker_urls))
        return web.Response(
            text=merge_expositions(texts),
            headers={"Content-Type": _CONTENT_TYPE, "Cache-Control": "no-store"},
        )


async def _scrape(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url) as response:
            if response.status != 200:
                return ""
            body = await read_whole(response.content, _SCRAPE_BYTES)
            return "" if body is None else body.decode("utf-8", "replace")
    except (aiohttp.ClientError, TimeoutError, OSError):
        return ""


def merge_expositions(texts: Iterable[str]) -> str:
    """One text exposition out of several: the samples of one metric together, its help and type said once."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for text in texts:
        family = ""
        fresh = False
        for line in text.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                name = line.split(" ", 3)[2]
                if name != family:
                    family, fresh = name, name not in heads
                    heads.setdefault(family, [])
                    samples.setdefault(family, [])
                if fresh:
                    heads[family].append(line)
            elif line and not line.startswith("#"):
                samples.setdefault(family, []).append(line)
    lines = [line for family in samples for line in (*heads.get(family, ()), *samples[family])]
    return "\n".join(lines) + "\n" if lines else ""
