"""Figures for Prometheus. Labels are routes, statuses, disguises and upstreams: no tenant, no model and no text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OTHER = "other"
# What is read when somebody asks: a name, what it says, and its values by upstream, or one for all ("").
Reading = tuple[str, str, Mapping[str, int]]


class Metrics:
    """The figures of one gateway."""

    def __init__(self, routes: Iterable[str]) -> None:
        self._routes = frozenset(routes)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "watchword_requests", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self._leaks = Counter(
            "watchword_leaks", "Leaks that were found, by disguise.", ["channel"], registry=self._registry
        )
        self._slowed = Counter(
            "watchword_slowed", "Requests of keys that were slowed down for leaks.", registry=self._registry
        )
        self._seconds = Histogram(
            "watchword_request_seconds",
            "Seconds of a request, to its last byte.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._upstream = Histogram(
            "watchword_upstream_seconds",
            "Seconds to the beginning of an upstream's answer.",
            ["upstream"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._read = _Read()
        self._registry.register(self._read)

    def request(self, route: str, status: int, seconds: float, leaks: Iterable[str]) -> None:
        """Counts a request that is over. A path that is not served counts as ``other``."""
        known = route if route in self._routes else _OTHER
        self._requests.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)
        for channel in leaks:
            self._leaks.labels(channel).inc()

    def slowed(self) -> None:
        """Counts a request that was refused, since its key had made leaks."""
        self._slowed.inc()

    def answered(self, upstream: str, seconds: float) -> None:
        """Counts the time to the beginning of an upstream's answer."""
        self._upstream.labels(upstream).observe(seconds)

    def text(self, readings: Sequence[Reading]) -> bytes:
        """All figures, as Prometheus reads them, with what was read just now."""
        self._read.readings = readings
        return generate_latest(self._registry)


class _Read(Collector):
    """What is looked up when somebody asks."""

    def __init__(self) -> None:
        self.readings: Sequence[Reading] = ()

    def collect(self) -> Iterable[Metric]:
        """A gauge for each reading."""
        for name, says, values in self.readings:
            labelled = "" not in values
            gauge = GaugeMetricFamily(name, says, labels=["upstream"] if labelled else None)
            for label, value in values.items():
                gauge.add_metric([label] if labelled else [], value)
            yield gauge
