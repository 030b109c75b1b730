"""Prometheus metrics of signaling: what there is now, read when asked, and what has happened.

Of several nodes each shows what there is on all of them, and counts what happened on itself.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from signaling.effects import Tally
from signaling.state import State


class Metrics:
    """Counts what happens and shows how many terminals, rooms, calls and workers there are.

    Args:
        registry: where they are registered.
        state: the state machine's state, only read.
    """

    def __init__(self, registry: CollectorRegistry, state: State) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"understudy_signaling_{name}", text, labels, registry=registry)

        self._counters = {
            "message": counter("messages", "Messages taken from terminals.", "type"),
            "refusal": counter("refusals", "Errors sent to terminals.", "code"),
            "worker_refusal": counter("worker_refusals", "Refusals sent to media workers.", "code"),
            "relay": counter("relay_requests", "Relay requests ended.", "kind", "mode", "outcome"),
            "call": counter("calls_started", "Calls started.", "kind", "mode"),
            "reconnect": counter("reconnects", "Hellos with a resume token.", "outcome"),
            "connection": counter("connections", "WebSocket connections by how they ended.", "end"),
        }
        self.event_loop_lag = Histogram(
            "understudy_signaling_event_loop_lag_seconds",
            "How late signaling's event loop runs a timer.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
            registry=registry,
        )
        self._unavailable = Gauge(
            "understudy_signaling_unavailable",
            "1 while this node cannot reach the Redis that joins it with others.",
            registry=registry,
        )
        registry.register(_StateCollector(state))
        ProcessCollector(namespace="understudy_signaling", registry=registry)

    def watch(self, trouble: Callable[[], str | None]) -> None:
        """Show whether events can be taken; ``trouble`` says why not."""
        self._unavailable.set_function(lambda: float(trouble() is not None))

    def count(self, tally: Tally) -> None:
        """Count one event."""
        self._counters[tally.event].labels(*tally.labels).inc()


class _StateCollector(Collector):
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        def gauge(name: str, text: str, labels: list[str], values: Mapping[tuple[str, ...], float]) -> Metric:
            family = GaugeMetricFamily(f"understudy_signaling_{name}", text, labels=labels)
            for key, value in values.items():
                family.add_metric(list(key), value)
            return family

        state = self._state
        presences = Count(terminal.presence for terminal in state.terminals.values())
        calls = Count((c.kind, c.mode) for room in state.rooms.values() for c in room.calls.values())
        ringing = sum(len(room.requests) for room in state.rooms.values())
        drivers: dict[tuple[str, ...], int] = {(w.id,): len(w.drivers) for w in state.workers.values()}
        yield gauge(
            "terminals",
            "Terminals by presence.",
            ["presence"],
            {("online",): presences["online"], ("away",): presences["away"]},
        )
        yield gauge("rooms", "Rooms with somebody in them.", [], {(): len(state.rooms)})
        yield gauge(
            "calls",
            "Calls going on.",
            ["kind", "mode"],
            {key: calls[key] for key in (("video", "reenacted"), ("video", "direct"), ("text", "reenacted"))},
        )
        yield gauge("relay_requests_open", "Relay requests ringing.", [], {(): ringing})
        connected = len(state.worker_by_connection)
        yield gauge("workers", "Media workers connected.", [], {(): connected})
        reachable = [worker for worker in state.workers.values() if worker.connection is not None]
        yield gauge(
            "worker_capacity",
            "Terminals that a connected media worker takes.",
            ["worker"],
            {(w.id,): w.capacity for w in reachable},
        )
        yield gauge(
            "worker_free_places",
            "Terminals that connected media workers take besides those they have; none while one drains.",
            ["worker"],
            {(w.id,): w.free for w in reachable},
        )
        yield gauge(
            "worker_load",
            "A connected media worker's own figure at its last heartbeat: 0 idle, 1 full.",
            ["worker"],
            {(w.id,): w.load for w in reachable},
        )
        yield gauge(
            "worker_draining",
            "1 while a media worker finishes its calls and takes no more.",
            ["worker"],
            {(w.id,): int(w.draining) for w in reachable},
        )
        yield gauge("worker_drivers", "Terminals given to a media worker.", ["worker"], drivers)
