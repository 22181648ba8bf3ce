"""Figures for Prometheus: calls by route, and what the database says of jobs when it is asked. No tenant is a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)
# What a gauge of the database's is called, and what it says.
GAUGES = {
    "watchword_jobs": "Jobs by state.",
    "watchword_oldest_waiting_job_seconds": "How long the job has waited that has waited longest.",
    "watchword_deliveries_due": "Webhook deliveries that wait.",
    "watchword_models": "Tuned models by state.",
    "watchword_seals_unreadable": "Releases whose sealed secret a worker could not read in the last day.",
    "watchword_workers_without_store": "Workers that cannot use a store now, by what they have told within the hour.",
}
Gauges = Mapping[str, Mapping[str, float]]


class Metrics:
    """The figures of this process. ``gauges`` is asked at each look: by metric's name, values by state."""

    def __init__(self, gauges: Callable[[], Gauges]) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "watchword_calls", "Calls by route and status.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "watchword_call_seconds", "Time of a call.", ("route",), buckets=_BUCKETS, registry=self._registry
        )
        self._deliveries = Counter(
            "watchword_webhook_deliveries", "Webhook deliveries by outcome.", ("outcome",), registry=self._registry
        )
        self._registry.register(_Asked(gauges))

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one call. A path that is no route of ours counts as one that is unknown, whatever it was."""
        known = route or "unknown"
        self._calls.labels(method if route else "any", known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def delivered(self, outcome: str) -> None:
        """Counts one delivery: delivered, retried or given up."""
        self._deliveries.labels(outcome).inc()

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return generate_latest(self._registry)


class _Asked(Collector):
    """What is looked up at each scrape."""

    def __init__(self, gauges: Callable[[], Gauges]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks for nothing."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The gauges as they are now."""
        for name, values in self._gauges().items():
            family = GaugeMetricFamily(name, GAUGES[name], labels=("state",))
            for state, value in values.items():
                family.add_metric((state,), value)
            yield family
