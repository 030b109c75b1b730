"""The media worker's process: its parts put together from the settings, and what signals do to it.

Started by ``understudy serve`` or ``understudy worker``. SIGTERM drains: no new drivers are taken, running
sessions may finish for ``drain_s`` seconds. SIGINT, or a second signal, ends everything at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from server.generators import dotted
from server.media.aiortc_peer import AiortcPeerFactory
from server.media.interfaces import Inference
from server.media.mends.vp8_encoder import bounds_for
from server.media.service import Limits
from server.targets.remote import RemoteTargets
from server.worker import RefusedError, Worker, WorkerSettings

if TYPE_CHECKING:
    from server.settings import Settings

logger = logging.getLogger(__name__)


def worker_settings(settings: Settings) -> WorkerSettings:
    """A worker's part of all settings."""
    values: dict[str, Any] = {}
    if settings.worker_id is not None:
        values["worker_id"] = settings.worker_id
    return WorkerSettings(
        signaling_url=settings.signaling_url,
        secret=settings.worker_secret.get_secret_value(),
        capacity=settings.worker_capacity,
        size=settings.size,
        drain_s=settings.drain_s,
        metrics_port=settings.metrics_port,
        limits=Limits(fps=settings.fps),
        **values,
    )


async def run_worker(settings: Settings, stop: asyncio.Event | None = None) -> int:
    """Run one media worker with a real inference process until it is told to stop.

    Args:
        settings: all settings.
        stop: ends it like SIGTERM; by default the process's signals do.

    Returns:
        0, or 1 when signaling does not take this worker.
    """
    abort = asyncio.Event()
    if stop is None:
        stop = asyncio.Event()
        _on_signals(stop, abort)
    options = worker_settings(settings)
    targets = RemoteTargets(settings.data_dir, options.signaling_url, options.secret)
    await asyncio.to_thread(targets.folder.sweep_others)
    inference = make_inference(settings, lambda: worker, targets)
    worker = Worker(options, inference, AiortcPeerFactory(bounds_for(options.size)), targets)
    try:
        await worker.run(stop, abort)
    except RefusedError as refusal:
        logger.error("%s", refusal)
        return 1
    return 0


def make_inference(settings: Settings, worker: Callable[[], Worker], targets: RemoteTargets) -> Inference:
    """The inference client, reporting to the worker."""
    from server.inference.client import InferenceClient
    from server.provenance import MarkSettings

    return InferenceClient(
        targets.load,
        settings.data_dir,
        at_hand=targets.at_hand,
        fetched_dir=targets.folder.path,
        size=settings.size,
        generator=dotted(settings.generator),
        capacity=settings.worker_capacity,
        mark=MarkSettings(settings.mark_enabled, settings.mark_text, settings.mark_place, settings.watermark),
        # The media side keeps the pace, evening out what comes unevenly; this is only a bound for it.
        fps=3 * settings.fps,
        on_status=lambda terminal, state, detail: worker().status_changed(terminal, state, detail),
        on_picture=lambda terminal: worker().picture_ready(terminal),
    )


def _on_signals(stop: asyncio.Event, abort: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def drain() -> None:
        if stop.is_set():
            abort.set()
        stop.set()

    def end() -> None:
        if abort.is_set():
            os._exit(130)
        abort.set()
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, drain)
    # Ignored by who started it: Ctrl-C is then for that one to act on, and inference ignores it as well.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGINT, end)
