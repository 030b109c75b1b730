"""Every Prometheus metric of the media worker and its inference client, in a registry of its own.

The worker serves :func:`exposition` on ``http://127.0.0.1:<metrics_port>/metrics``
(:mod:`server.worker_status`). In ``understudy serve`` the main process appends that text to its own
``/metrics``. All names here start with ``understudy_`` and none may be used by another process: a name
exposed twice is invalid in the text format.

``frames_dropped`` counts every picture that was received or made and not shown, by the stage that let go
of it; nothing is dropped silently.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Count
from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest

from signaling.vocabulary import DriverState

REGISTRY: Final = CollectorRegistry(auto_describe=True)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

disable_created_metrics()  # twice the text for nothing that anybody reads

_FAST = (0.001, 0.002, 0.004, 0.006, 0.008, 0.010, 0.012, 0.015, 0.020, 0.025, 0.030, 0.040, 0.050, 0.075)
_BUCKETS = (*_FAST, 0.100, 0.150, 0.200, 0.300, 0.500, 1.0)

EVENT_LOOP_LAG: Final = Histogram(
    "understudy_event_loop_lag_seconds",
    "How late the media worker's event loop runs a timer.",
    buckets=(0.0005, *_BUCKETS),
    registry=REGISTRY,
)
FRAME_SECONDS: Final = Histogram(
    "understudy_frame_seconds",
    "Decoded driver frame to generated frame.",
    buckets=_BUCKETS,
    registry=REGISTRY,
)
LANDMARK_SECONDS: Final = Histogram(
    "understudy_landmark_seconds",
    "Detection, smoothing and retargeting of one driver frame.",
    buckets=_BUCKETS,
    registry=REGISTRY,
)
GENERATE_SECONDS: Final = Histogram(
    "understudy_generate_seconds",
    "Generation of the batch that a frame was in.",
    buckets=_BUCKETS,
    registry=REGISTRY,
)
BATCH_SIZE: Final = Histogram(
    "understudy_batch_frames",
    "Frames generated together.",
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 32, 64),
    registry=REGISTRY,
)
FRAME_AGE: Final = Histogram(
    "understudy_frame_age_seconds",
    "Age of a generated frame's driver frame when it is handed to the encoder.",
    buckets=_BUCKETS,
    registry=REGISTRY,
)
ENCODE_SECONDS: Final = Histogram(
    "understudy_encode_seconds",
    "Time an encoder takes for one picture.",
    buckets=_BUCKETS,
    registry=REGISTRY,
)
SESSION_SETUP: Final = Histogram(
    "understudy_session_setup_seconds",
    "Offer received to media session connected.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0),
    registry=REGISTRY,
)

FRAMES: Final = Counter(
    "understudy_frames",
    "Pictures by stage: decoded (from a camera), submitted (to inference), generated, encoded (to a viewer).",
    ["stage"],
    registry=REGISTRY,
)
FRAMES_DROPPED: Final = Counter(
    "understudy_frames_dropped",
    "Pictures let go of, by stage and reason.",
    ["stage", "reason"],
    registry=REGISTRY,
)
AUDIO_PACKETS: Final = Counter(
    "understudy_audio_packets",
    "Sound packets: received (from a microphone), forwarded (to a viewer), silence (made for a viewer).",
    ["stage"],
    registry=REGISTRY,
)
AUDIO_DROPPED: Final = Counter(
    "understudy_audio_packets_dropped", "Sound packets let go of, by reason.", ["reason"], registry=REGISTRY
)
KEYFRAMES: Final = Counter(
    "understudy_keyframes", "Keyframes encoded, by reason.", ["reason"], registry=REGISTRY
)
SESSIONS: Final = Gauge(
    "understudy_media_sessions", "Media sessions that exist now.", ["channel"], registry=REGISTRY
)
SESSION_ENDS: Final = Counter(
    "understudy_media_session_ends",
    "Media sessions ended, by channel and reason.",
    ["channel", "reason"],
    registry=REGISTRY,
)
DRIVERS: Final = Gauge("understudy_drivers", "Drivers that hold an inference slot.", registry=REGISTRY)
CAPACITY: Final = Gauge(
    "understudy_worker_capacity", "Drivers that this media worker serves at once.", registry=REGISTRY
)
DRIVER_STATES: Final = Counter(
    "understudy_driver_states", "Changes of a driver's state, by the new state.", ["state"], registry=REGISTRY
)
INFERENCE_RESTARTS: Final = Counter(
    "understudy_inference_restarts", "Times the inference process had to be started again.", registry=REGISTRY
)
SIGNALING_CONNECTIONS: Final = Counter(
    "understudy_signaling_connections", "Connections made to the signaling server.", registry=REGISTRY
)


class DriversByState:
    """How many drivers are in each state now. The share without a face is one state's part of all."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauge = Gauge(
            "understudy_drivers_by_state",
            "Drivers by what their picture shows.",
            ["state"],
            registry=registry,
        )
        self.show(())

    def show(self, states: Iterable[str]) -> None:
        """Set all figures from the states that drivers are in."""
        counts = Count(states)
        for state in get_args(DriverState):
            self._gauge.labels(state).set(counts[state])


DRIVERS_BY_STATE: Final = DriversByState(REGISTRY)

#: Processor time, memory, open files of the worker (its inference process is not in them).
ProcessCollector(namespace="understudy_worker", registry=REGISTRY)


def exposition() -> bytes:
    """All metrics in the Prometheus text format (UTF-8)."""
    return generate_latest(REGISTRY)


async def watch_event_loop(interval: float = 0.02) -> None:
    """Measure the running event loop's lag for ever: how much later than asked a sleep returns.

    Args:
        interval: seconds between measurements.
    """
    while True:
        expected = time.perf_counter() + interval
        await asyncio.sleep(interval)
        EVENT_LOOP_LAG.observe(max(0.0, time.perf_counter() - expected))
