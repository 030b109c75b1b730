"""Figures of a running service: its Prometheus metrics between two instants, and its CPU time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class MetricsSnapshot:
    """All samples of one scrape, by name and labels."""

    samples: Mapping[tuple[str, Labels], float]

    @classmethod
    def parse(cls, text: str) -> MetricsSnapshot:
        """Read the Prometheus text format."""
        return cls(
            {
                (sample.name, frozenset(sample.labels.items())): float(sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def counter(self, name: str, **labels: str) -> float:
        """A counter's or gauge's value; 0 while it has none."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def buckets(self, histogram: str) -> dict[float, float]:
        """Upper bound -> cumulated count."""
        return {
            float(dict(labels)["le"]): value
            for (name, labels), value in self.samples.items()
            if name == f"{histogram}_bucket"
        }


def percentile(before: MetricsSnapshot, after: MetricsSnapshot, histogram: str, share: float) -> float:
    """Estimate a percentile of what a histogram took in between two scrapes.

    Linear within a bucket, as Prometheus' ``histogram_quantile``; beyond the last bound, that bound.

    Args:
        share: 0..1.

    Returns:
        In the histogram's unit; NaN if it took in nothing.
    """
    early, late = before.buckets(histogram), after.buckets(histogram)
    counts = [(bound, late[bound] - early.get(bound, 0.0)) for bound in sorted(late)]
    if not counts or counts[-1][1] <= 0:
        return math.nan
    rank = share * counts[-1][1]
    lower = below = 0.0
    for bound, count in counts:
        if count >= rank:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * ((rank - below) / (count - below) if count > below else 0.0)
        lower, below = bound, count
    return lower


class ProcessTimes:
    """CPU time of a process and all that descends from it, of those that ended as well.

    Args:
        pid: the root of the tree.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._seconds: dict[tuple[int, float], float] = {}

    def seconds(self) -> float:
        """CPU seconds of the whole tree until now."""
        for process in (self._root, *self._root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                times = process.cpu_times()
                self._seconds[process.pid, process.create_time()] = times.user + times.system
        return sum(self._seconds.values())
