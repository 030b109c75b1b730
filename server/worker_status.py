"""The worker's own /metrics, /healthz and /readyz, on the loopback address."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from server import metrics

logger = logging.getLogger(__name__)


class StatusPage:
    """Serves the worker's metrics and how it is.

    Args:
        port: on 127.0.0.1; 0 takes a free one.
        health: gives what /healthz says, as JSON can hold it; ``registered`` and ``draining`` make /readyz.
    """

    def __init__(self, port: int, health: Callable[[], dict[str, Any]]) -> None:
        self.port: int | None = None
        self._wanted = port
        self._health = health
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve. A port that is taken is logged, not raised: calls are worth more than figures."""
        app = web.Application()
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/healthz", self._serve_health)
        app.router.add_get("/readyz", self._serve_readiness)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._wanted).start()
        except OSError as error:
            logger.warning("No metrics: port %d: %s", self._wanted, error)
            await runner.cleanup()
            return
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def close(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _serve_health(self, request: web.Request) -> web.Response:
        return web.json_response(self._health())

    async def _serve_readiness(self, request: web.Request) -> web.Response:
        """Ready: inference has started, signaling has registered it, and it is not draining."""
        health = self._health()
        ready = health["registered"] and not health["draining"]
        return web.json_response(health, status=200 if ready else 503)
