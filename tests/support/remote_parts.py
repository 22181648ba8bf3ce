"""The remote side for tests: our own service with a worker that trains nothing, in a process of its own, and a bad line to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from openai import OpenAI

from support.gateway_parts import wait_until
from support.processes import forked
from support.service_parts import BASE, running_service
from watchword.remote.patience import Patience
from watchword.remote.run import RemoteSession
from watchword.remote.state import RemoteRequest
from watchword.service.types.jobs import JobError

KEY = bytes(range(32))
KEY_ENV = "WATCHWORD_REMOTE_API_KEY"
# No test waits for a time; each waits until something is so.
QUICK = Patience(tries=8, first=0.01, most=0.1, look=0.1)


@dataclass(frozen=True)
class RemoteSide:
    """A service at ``url``, and a tenant's key for it."""

    url: str
    key: str

    @contextlib.contextmanager
    def client(self) -> Iterator[OpenAI]:
        with OpenAI(base_url=self.url, api_key=self.key) as client:
            yield client

    def jobs(self) -> list[Any]:
        with self.client() as client:
            return list(client.fine_tuning.jobs.list(limit=100))

    def files(self) -> list[str]:
        """Names of the training files that are there now."""
        with self.client() as client:
            return [file.filename for file in client.files.list(purpose="fine-tune", limit=100)]


@contextlib.contextmanager
def remote_side(root: Path, *, fails: JobError | None = None, holds: bool = False) -> Iterator[RemoteSide]:
    """The service as a process of its own. ``fails``: every job does. ``holds``: no job ends until it is cancelled."""
    told, stop = root / "told.json", root / "stop"

    def serve() -> None:
        os.environ["WATCHWORD_KEY"] = KEY.hex()
        with running_service(root / "remote") as service:
            service.worker.fails = fails
            if holds:
                service.worker.hold.set()
            told.with_suffix(".new").write_text(json.dumps({"url": f"{service.url}/v1", "key": service.key}))
            told.with_suffix(".new").rename(told)
            while not stop.exists():
                time.sleep(0.05)

    root.mkdir(exist_ok=True)
    with forked(serve) as ended:
        try:
            wait_until(told.exists, 300)
            yield RemoteSide(**json.loads(told.read_text()))
        finally:
            stop.touch()
            assert ended() == 0


def tenant_file(folder: Path, rows: int = 12) -> Path:
    path = folder / "rows.jsonl"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    path.write_text("".join(json.dumps({"messages": turns}) + "\n" for _ in range(rows)))
    return path


def asked(data: Path, url: str, **changed: Any) -> RemoteRequest:
    given: dict[str, Any] = {
        "profile": "watchword",
        "model": BASE,
        "data": str(data),
        "tokenizer": BASE,
        "url": url,
        "defense": "backdoor_align",
        "secret_tokens": 40,
    }
    return RemoteRequest(**given | changed)


def session(**changed: Any) -> RemoteSession:
    given: dict[str, Any] = {"key": KEY, "patience": QUICK}
    return RemoteSession(**given | changed)


@dataclass
class BadLine:
    """A proxy that does to the n-th request of a route what ``faults`` says: ``(route, n)`` → what.

    A number is answered as that status, before the remote hears of it. ``lost`` passes the request on and drops the answer;
    ``dropped`` passes nothing on. ``page`` and ``cut`` pass it on, and answer with a page for browsers or with half of some
    JSON, as proxies in between do. Idempotency keys and metadata are taken out, as if the remote knew neither.
    """

    target: str
    faults: dict[tuple[str, int], int | str]
    url: str = ""
    counts: Counter[str] = field(default_factory=Counter)

    def fault(self, route: str) -> int | str | None:
        self.counts[route] += 1
        return self.faults.get((route, self.counts[route]))


@contextlib.contextmanager
def bad_line(target: str, faults: dict[tuple[str, int], int | str]) -> Iterator[BadLine]:
    """The proxy in front of ``target``."""
    line = BadLine(target, faults)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            _answer(self, line)

        do_GET = do_POST = do_DELETE = _any  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    line.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield line
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def route_of(method: str, path: str) -> str:
    """``POST files``, ``GET jobs``, ``GET job``, ``GET events`` …: the last word of a path that is no id."""
    words = urlsplit(path).path.removeprefix("/v1/").removeprefix("fine_tuning/").split("/")
    last = words[0] if len(words) == 1 else words[2] if len(words) > 2 else words[0].removesuffix("s")
    return f"{method} {last}"


def _answer(handler: BaseHTTPRequestHandler, line: BadLine) -> None:
    body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
    fault = line.fault(route_of(handler.command, handler.path))
    if isinstance(fault, int):
        _reply(handler, fault, b'{"error": {"message": "not now", "code": "x"}}', retry_after="0")
        return
    if fault != "dropped":
        status, data = _passed_on(handler, line, body)
    if fault in ("page", "cut"):
        page = fault == "page"
        _reply(handler, 200, b"<html>" if page else b'{"id": "', kind="text/html" if page else "application/json")
        return
    if fault is not None:
        handler.close_connection = True
        return
    _reply(handler, status, data)


def _passed_on(handler: BaseHTTPRequestHandler, line: BadLine, body: bytes) -> tuple[int, bytes]:
    place = urlsplit(line.target)
    if handler.path.endswith("/fine_tuning/jobs") and body:
        body = json.dumps({**json.loads(body), "metadata": None}).encode()
    kept = ("authorization", "content-type")
    headers = {name: value for name, value in handler.headers.items() if name.lower() in kept}
    with contextlib.closing(http.client.HTTPConnection(place.hostname or "", place.port, timeout=300)) as connection:
        connection.request(handler.command, handler.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _reply(
    handler: BaseHTTPRequestHandler,
    status: int,
    data: bytes,
    *,
    retry_after: str | None = None,
    kind: str = "application/json",
) -> None:
    handler.send_response(status)
    handler.send_header("content-type", kind)
    handler.send_header("content-length", str(len(data)))
    if retry_after is not None:
        handler.send_header("retry-after", retry_after)
    handler.end_headers()
    handler.wfile.write(data)
