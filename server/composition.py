"""The main process's web application, put together from settings: page, targets API, signaling."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry

from server.api_access import access_config
from server.api_animate import AnimateApiOptions
from server.api_targets import TargetsApiOptions
from server.app import AppConfig, build_app
from server.audit.service import AUDIT, AuditLog
from server.exposure import is_local_only
from server.generators import expected
from server.provenance import MarkSettings
from server.settings import Settings
from signaling.app import Signaling, setup_signaling
from signaling.config import SignalingConfig


def compose(settings: Settings, *, needs_worker: bool) -> web.Application:
    """Make the application.

    Args:
        settings: all settings; ``worker_secret`` and, for the worker's metrics, ``metrics_port`` are set.
        needs_worker: whether the service is ready only while a media worker is registered and not draining.
    """
    registry = CollectorRegistry()
    signaling: Signaling

    def worker_is_there() -> bool:
        return signaling.has_lasting_worker

    metrics_urls: Sequence[str] = ()
    if settings.metrics_port is not None:
        metrics_urls = (f"http://127.0.0.1:{settings.metrics_port}/metrics",)
    app = build_app(
        AppConfig(
            data_dir=settings.data_dir,
            target_ttl_s=settings.target_ttl_h * 3600,
            max_uploads=settings.max_uploads,
            mark_text=settings.mark_text if settings.mark_enabled else "",
            size=settings.size,
            generator=expected(settings.generator, settings.data_dir, settings.size),
            room_capacity=settings.room_capacity,
            worker_metrics_urls=metrics_urls,
            ready=worker_is_there if needs_worker else None,
            trouble=lambda: signaling.log.trouble,
            registries=(registry,),
            access=access_config(settings),
            targets=TargetsApiOptions(forwarded_header=settings.forwarded_header),
            animate=AnimateApiOptions(
                generator=settings.generator,
                mark=MarkSettings(
                    settings.mark_enabled, settings.mark_text, settings.mark_place, settings.watermark
                ),
                forwarded_header=settings.forwarded_header,
            ),
        )
    )
    on_record = None
    if settings.audit_enabled:
        log = AuditLog(settings, registry)
        app[AUDIT] = log
        app.cleanup_ctx.append(log.lifespan)
        on_record = log.signaling_record
    signaling = setup_signaling(app, signaling_config(settings), registry, on_record)
    return app


def signaling_config(settings: Settings) -> SignalingConfig:
    """Signaling's part of all settings."""
    return SignalingConfig(
        heartbeat_s=settings.heartbeat_s,
        resume_s=settings.resume_s,
        ring_timeout_s=settings.ring_timeout_s,
        room_capacity=settings.room_capacity,
        ice_servers=tuple(settings.ice_servers),
        worker_secret=settings.worker_secret.get_secret_value(),
        redis_url=settings.redis_url.get_secret_value(),
        turn_urls=tuple(settings.turn_urls),
        turn_secret=settings.turn_secret.get_secret_value(),
        turn_ttl_s=settings.turn_ttl_s,
        join_key=settings.join_key.get_secret_value(),
        own_host_only=is_local_only(settings),
        allowed_origins=tuple(settings.allowed_origins),
        forwarded_header=settings.forwarded_header,
        connections_per_address=settings.connections_per_address,
        connects_per_second=settings.connects_per_second,
        connect_burst=settings.connect_burst,
    )
