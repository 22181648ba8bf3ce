"""What the gateway keeps an eye on beside its answers: leaks by key, those who want to hear of them, and figures."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from watchword.errors import CallError
from watchword.gateway.alerting import LeakAlerts
from watchword.gateway.braking import LeakBrake
from watchword.gateway.configuration import Configuration
from watchword.gateway.routes import LABELS
from watchword.gateway.tenants import Tenant, is_operator

if TYPE_CHECKING:
    from watchword.gateway.metrics import Metrics, Reading

# Told a key's id, a model and the disguises of what was found.
OnLeak = Callable[[str, str, Sequence[str]], None]


class CallOver(msgspec.Struct, frozen=True):
    """A request that is over. ``leaks`` are the disguises of what was found in its answers; ``key`` is whose it was."""

    id: str
    route: str
    status: int | None
    seconds: float
    key: str | None = None
    model: str | None = None
    leaks: list[str] = msgspec.field(default_factory=list)


class Watch:
    """Made once for a gateway. Raises DataError where the file for leaks cannot be written."""

    def __init__(self, configuration: Configuration, on_leak: OnLeak | None = None) -> None:
        leaks = configuration.leaks
        self._on_leak = on_leak
        self._brake, self._alerts = LeakBrake(leaks.slow_after, leaks.slow_minutes), LeakAlerts(leaks)
        self._operator = configuration.metrics.sha256 if configuration.metrics is not None else None
        self._metrics = None if self._operator is None else _metrics()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends alerts, while inside."""
        async with self._alerts.running():
            yield

    def check(self, tenant: Tenant) -> None:
        """Raises CallError for a key that has made too many leaks."""
        try:
            self._brake.check(tenant.id)
        except CallError:
            if self._metrics is not None:
                self._metrics.slowed()
            raise

    def over(self, call: CallOver) -> None:
        """Counts a request, and has its leaks followed by what the configuration says."""
        if call.leaks and call.key is not None:
            self._brake.leaked(call.key)
            self._alerts.leaked(request=call.id, key=call.key, model=call.model, channels=call.leaks)
            if self._on_leak is not None and call.model is not None:
                self._on_leak(call.key, call.model, call.leaks)
        if self._metrics is not None:
            self._metrics.request(call.route, call.status or 0, call.seconds, call.leaks)

    def timer(self, upstream: str) -> Callable[[float], None] | None:
        """What is to be told the seconds to an upstream's answer; None where nobody wants figures."""
        return None if self._metrics is None else functools.partial(self._metrics.answered, upstream)

    def shows_figures(self, authorization: str) -> bool:
        """Whether this is the operator. For everybody else there are no figures, and no such URL."""
        return self._operator is not None and is_operator(authorization, self._operator)

    def figures(self, models: int, unavailable: int, waiting: Mapping[str, int]) -> bytes:
        """All figures for Prometheus. ``waiting`` are requests in the queue of each upstream."""
        assert self._metrics is not None
        readings: list[Reading] = [
            ("watchword_models", "Models that are known.", {"": models}),
            ("watchword_models_unavailable", "Models whose release does not open.", {"": unavailable}),
            ("watchword_upstream_waiting", "Requests that wait for a place at an upstream.", waiting),
            ("watchword_alerts_dropped", "Alerts of leaks that were not sent.", {"": self._alerts.dropped}),
        ]
        return self._metrics.text(readings)


def _metrics() -> Metrics:
    """Imported only where somebody wants figures."""
    from watchword.gateway.metrics import Metrics

    return Metrics(LABELS)
