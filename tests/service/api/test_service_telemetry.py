"""Traces: one span for each call, of these few attributes, whatever a tenant sends and whatever fails."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest

from support.gateway_parts import call, wait_until
from support.secret_runs import secret_runs_in
from support.served_release import secret_of
from support.service_parts import BASE, ServiceUnderTest, rows
from watchword.service.api import telemetry
from watchword.service.db import Database

sdk = pytest.importorskip("opentelemetry.sdk.trace")

from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

WORDS = "zanzibar-told-in-confidence"
ATTRIBUTES = {"http.request.method", "http.route", "http.response.status_code", "watchword.request_id"}
# What ``watchword serve`` does around each call, with the exporter that its environment names.
SCRIPT = """
from opentelemetry import trace
from watchword.service.api.telemetry import export_traces, span_of
assert export_traces()
with span_of("GET") as span:
    span.end(route="/v1/files/{file_id}", status=200, request_id="req_1")
trace.get_tracer_provider().shutdown()
"""


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is exported. The process's own provider stays as it is."""
    kept, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(telemetry.trace, "get_tracer", provider.get_tracer)
    yield kept
    provider.shutdown()


def exported(spans: InMemorySpanExporter, count: int) -> dict[str, Any]:
    """The spans by name, once there are so many of them."""
    wait_until(lambda: len(spans.get_finished_spans()) >= count)
    return {span.name: span for span in spans.get_finished_spans()}


def test_each_call_is_a_span_named_by_its_route(service: ServiceUnderTest, spans: InMemorySpanExporter) -> None:
    client = service.client()
    file = client.files.create(file=(f"{WORDS}.jsonl", rows()), purpose="fine-tune")
    client.files.retrieve(file.id)
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id, metadata={"a": WORDS})
    model = client.fine_tuning.jobs.retrieve(job.id, extra_headers={"Prefer": "wait=10"}).fine_tuned_model
    asked: Any = {"model": model, "messages": [{"role": "user", "content": WORDS}]}
    client.chat.completions.create(**asked)
    assert list(client.chat.completions.create(**asked, stream=True))
    found = exported(spans, 6)
    assert set(found) == {
        "POST /v1/files",
        "GET /v1/files/{file_id}",
        "POST /v1/fine_tuning/jobs",
        "GET /v1/fine_tuning/jobs/{job_id}",
        "POST /v1/chat/completions",
    }
    assert all(span.attributes["http.response.status_code"] == 200 for span in found.values())
    assert all(span.kind.name == "SERVER" for span in found.values())
    holds_nothing(spans, service, file.id, job.id, str(model))


def test_failures_put_no_words_into_a_span(
    idle: ServiceUnderTest, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = idle.client()
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(WORDS)
    with pytest.raises(openai.BadRequestError):
        client.post("/fine_tuning/jobs", cast_to=object, body={WORDS: WORDS})
    call(idle.port, path=f"/{WORDS}?{WORDS}", method="GET", key=idle.key)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(WORDS)

    with monkeypatch.context() as patched:
        patched.setattr(Database, "files", fails)
        with pytest.raises(openai.InternalServerError):
            client.files.list()
    found = exported(spans, 4)
    assert {span.attributes["http.response.status_code"] for span in found.values()} == {400, 404, 500}
    holds_nothing(spans, idle)


def test_a_method_of_the_clients_own_has_no_name_in_a_span(spans: InMemorySpanExporter) -> None:
    with telemetry.span_of(WORDS.upper()) as span:
        span.end(route="", status=405, request_id="req_1")
    (found,) = spans.get_finished_spans()
    assert (found.name, found.attributes["http.request.method"]) == ("_OTHER", "_OTHER")


def holds_nothing(spans: InMemorySpanExporter, service: ServiceUnderTest, *ids: str) -> None:
    """No content, no name of anybody's, no key and no secret: not in a span's attributes, events, links or status."""
    for span in spans.get_finished_spans():
        assert set(span.attributes) == ATTRIBUTES
        assert (list(span.events), list(span.links), span.status.description) == ([], [], None)
        text = span.to_json()
        assert not [word for word in (WORDS, service.key, "bakery", *ids) if word in text]
        assert secret_runs_in(text, secret_of().reveal()) == []


def test_spans_reach_the_collector_that_the_environment_names() -> None:
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False, timeout=300
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    ((path, data),) = got
    assert path == "/v1/traces"
    assert b"GET /v1/files/{file_id}" in data
    assert b"watchword" in data
