"""Traces for OpenTelemetry, where its SDK is installed: one span for each call, made of these few attributes alone.

There is no switch for contents. FastAPI's own telemetry stays off, for it records what was wrong in a request's words.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# Any other word is a client's own.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# For FastAPI(telemetry=…).
FASTAPI_OFF = TelemetryConfig(tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False)


class CallSpan:
    """The span of one call."""

    def __init__(self, span: trace.Span, method: str) -> None:
        self._span, self._method = span, method

    def end(self, *, route: str, status: int | None, request_id: str) -> None:
        """Names the span by the route's template, and notes how it ended."""
        self._span.update_name(f"{self._method} {route}".strip())
        self._span.set_attribute("http.request.method", self._method)
        self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status or 0)
        self._span.set_attribute("watchword.request_id", request_id)


@contextlib.contextmanager
def span_of(method: str) -> Iterator[CallSpan]:
    """A span around a call. What is raised inside is no part of it: an error's words may be a tenant's."""
    method = method if method in _METHODS else "_OTHER"
    tracer = trace.get_tracer("watchword.service")
    with tracer.start_as_current_span(
        method, kind=trace.SpanKind.SERVER, record_exception=False, set_status_on_exception=False
    ) as span:
        yield CallSpan(span, method)


def export_traces() -> bool:
    """Sends spans to the collector that OpenTelemetry's environment variables name. Says whether there is one.

    Raises ModuleNotFoundError where a collector is named and the SDK is missing.
    """
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return False
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "watchword"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True
