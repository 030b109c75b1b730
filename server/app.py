"""The web application of the main process: page, targets API, signaling, health and metrics.

Imports neither mediapipe nor torch: the server answers within a second of its start.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from server.api_access import Access, AccessConfig
from server.api_animate import AnimateApi, AnimateApiOptions
from server.api_errors import ApiError, add_security_headers, error_of_status, json_errors
from server.api_limits import end_unread
from server.api_metrics import ApiMetrics, MetricsEndpoint
from server.api_page import DEFAULT_CLIENT, Page
from server.api_targets import TargetsApi, TargetsApiOptions
from server.api_tokens import TokensApi
from server.api_worker_targets import WorkerTargetsApi
from server.targets.decode import FORMATS
from server.targets.pool import PoolOptions, PreparationPool
from server.targets.store import TargetStore

#: For ``web.AppRunner(app, **RUNNER_OPTIONS)``: a connection that says nothing, or says it too slowly, ends.
RUNNER_OPTIONS: Final[dict[str, Any]] = {
    "keepalive_timeout": 30.0,
    "lingering_time": 5.0,
    "max_line_size": 8190,
    "max_field_size": 8190,
    "shutdown_timeout": 1.0,
}

_MAX_BODY_BYTES: Final = 64 * 1024  # of requests other than uploads, which are streamed


@dataclass(frozen=True)
class AppConfig:
    """What the application is made of.

    Attributes:
        data_dir: where uploaded targets live.
        target_ttl_s: how long an upload is kept, seconds.
        max_uploads: uploads kept at once.
        mark_text: text of the visible mark on generated frames, empty if off; told to the page.
        size: pixels a side of generated pictures; told to the page.
        generator: name of the generator; told to the page.
        room_capacity: terminals in a room; told to the page.
        worker_metrics_urls: where media workers serve their metrics.
        ready: whether this serves calls: a media worker is there that stays. One that is full counts, for
            those in calls and the page are served all the same; one that drains does not.
        trouble: why calls cannot be taken now for all that, as a sentence; None: nothing is wrong.
        registries: further metrics of this process.
        access: keys, and who may ask what.
        client_dir: the page's files.
        targets: limits of the targets API.
        preparation: limits of the preparation process; its photo limits are those of ``targets``.
        animate: limits of the animation API, its generator and mark.
    """

    data_dir: Path
    target_ttl_s: float = 24 * 3600.0
    max_uploads: int = 1000
    mark_text: str = "AI-generated"
    size: int = 256
    generator: str = "mesh-warp"
    room_capacity: int = 8
    worker_metrics_urls: Sequence[str] = ()
    ready: Callable[[], bool] | None = None
    trouble: Callable[[], str | None] | None = None
    registries: Sequence[CollectorRegistry] = ()
    access: AccessConfig = field(default_factory=AccessConfig)
    client_dir: Path = DEFAULT_CLIENT
    targets: TargetsApiOptions = field(default_factory=TargetsApiOptions)
    preparation: PoolOptions = field(default_factory=PoolOptions)
    animate: AnimateApiOptions = field(default_factory=AnimateApiOptions)


STORE: Final = web.AppKey("targets_store", TargetStore)


def build_app(config: AppConfig) -> web.Application:
    """The application, without signaling.

    ``signaling.app.setup_signaling(app, ...)`` adds ``/ws`` and ``/worker`` to it; whoever does so passes
    what tells whether a worker is ready as ``config.ready`` (see :class:`AppConfig`).
    """
    metrics = ApiMetrics()
    access = Access(config.access)
    app = web.Application(
        middlewares=[metrics.middleware(), json_errors, access.middleware()],  # type: ignore[list-item]
        client_max_size=_MAX_BODY_BYTES,
    )
    app.on_response_prepare.append(add_security_headers)
    app.on_response_prepare.append(end_unread)
    app.on_startup.append(access.require_rules)

    store = TargetStore(config.data_dir, ttl_s=config.target_ttl_s, max_uploads=config.max_uploads)
    app[STORE] = store
    upload = config.targets.upload
    options = config.preparation
    pool = PreparationPool(
        PoolOptions(upload.photo, options.timeout_s, options.memory_bytes, options.recycle_after)
    )
    targets = TargetsApi(store, pool, metrics, config.targets)
    targets.add_routes(app.router)
    app.cleanup_ctx.append(targets.run)

    animate = AnimateApi(store, config.data_dir, config.animate)
    animate.add_routes(app.router)
    app.cleanup_ctx.append(animate.run)

    WorkerTargetsApi(store).add_routes(app.router)
    TokensApi(config.access.join_key).add_routes(app.router)
    Page(config.client_dir).add_routes(app.router)
    status = _Status(config)
    app.router.add_get("/api/config", status.config)
    app.router.add_get("/healthz", status.healthy)
    app.router.add_get("/readyz", status.ready)
    endpoint = MetricsEndpoint([metrics.registry, *config.registries], config.worker_metrics_urls)
    app.router.add_get("/metrics", endpoint.handle)
    return app


class _Status:
    """What the service is and how it is."""

    def __init__(self, config: AppConfig) -> None:
        upload = config.targets.upload
        self._ready = config.ready
        self._trouble = config.trouble
        self._config = {
            "version": _version(),
            "mark": {"text": config.mark_text},
            "upload": {
                "max_photos": upload.max_photos,
                "max_bytes": upload.photo.max_bytes,
                "formats": [f"image/{name.lower()}" for name in FORMATS],
                "ttl_h": config.target_ttl_s / 3600,
            },
            "size": config.size,
            "generator": config.generator,
            "room_capacity": config.room_capacity,
            "by_invitation": bool(config.access.join_key),
        }

    async def config(self, request: web.Request) -> web.Response:
        """GET /api/config"""
        return web.json_response(self._config, headers={"Cache-Control": "no-cache"})

    async def healthy(self, request: web.Request) -> web.Response:
        """GET /healthz: the process answers."""
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def ready(self, request: web.Request) -> web.Response:
        """GET /readyz: calls are served here, though all places may be taken."""
        trouble = None if self._trouble is None else self._trouble()
        if trouble is not None:
            raise ApiError(503, "unavailable", trouble)
        if self._ready is not None and not self._ready():
            raise error_of_status(503)
        return web.json_response({"status": "ready"}, headers={"Cache-Control": "no-store"})


def _version() -> str:
    try:
        return importlib.metadata.version("understudy")
    except importlib.metadata.PackageNotFoundError:
        return "0"
