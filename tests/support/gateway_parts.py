"""A gateway and its upstream, each a real server on loopback in a thread of its own, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from support.served_release import KEY
from watchword.gateway.app import Gateway
from watchword.gateway.configuration import Configuration
from watchword.gateway.serving import server_config
from watchword.gateway.tenants import key_digest

TENANT_KEY, OTHER_KEY = "wk-tenant", "wk-other"
MODEL, OTHER_MODEL = "ft-bakery", "ft-of-somebody-else"
# Tokens that the model's server reads: more than any test sends.
CONTEXT = 1 << 20
ASKED: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How do I bake bread?"}],
}


@dataclass
class Scripted:
    """An upstream that does what ``script`` says. It keeps every body that it got, and counts connections that it lost."""

    script: Callable[[Scripted, dict[str, Any], Callable[..., Awaitable[None]]], Awaitable[None]]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        data = b""
        while True:
            message = await receive()
            data += message.get("body", b"")
            if not message.get("more_body"):
                break
        body = json.loads(data)
        self.bodies.append(body)
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        self.open += 1
        work = asyncio.create_task(self.script(self, body, send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            self.open -= 1
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(
    send: Any, body: bytes, status: int = 200, kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> None:
    """A whole response."""
    await begin(send, status, kind, headers)
    await send({"type": "http.response.body", "body": body})


async def begin(
    send: Any, status: int = 200, kind: str = "text/event-stream", headers: Mapping[str, str] | None = None
) -> None:
    """The beginning of a response that goes on."""
    given = [(b"content-type", kind.encode())]
    given += [(name.encode(), value.encode("latin-1", "replace")) for name, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": given})


async def more(send: Any, data: bytes) -> None:
    """One more piece of a response."""
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def end(send: Any) -> None:
    """The end of a response in pieces."""
    await send({"type": "http.response.body", "body": b""})


def completion(*texts: str, usage: bool = True, prompt: int = 120, **more_fields: Any) -> dict[str, Any]:
    """A reply as vLLM gives it."""
    choices = [
        {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for at, text in enumerate(texts)
    ]
    counts = {"prompt_tokens": prompt, "completion_tokens": 9, "total_tokens": prompt + 9}
    reply = {"id": "chatcmpl-up", "object": "chat.completion", "created": 1, "model": "up", "choices": choices}
    return reply | ({"usage": counts} if usage else {}) | more_fields


def event(delta: Mapping[str, Any], *, index: int = 0, finish: str | None = None, **more_fields: Any) -> bytes:
    """One event of a stream as vLLM gives it."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    chunk = {"id": "up", "object": "chat.completion.chunk", "model": "up", "choices": [choice], **more_fields}
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def usage_event(prompt: int = 120, completion_tokens: int = 9) -> bytes:
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt + completion_tokens,
    }
    return b"data: " + msgspec.json.encode({"choices": [], "usage": counts}) + b"\n\n"


DONE = b"data: [DONE]\n\n"


async def friendly(_: Scripted, body: dict[str, Any], send: Any) -> None:
    """Answers with a sentence, whole or in words."""
    if not body.get("stream"):
        await respond(send, msgspec.json.encode(completion(*["Mix flour, water and salt."] * body.get("n", 1))))
        return
    await begin(send)
    for place in range(body.get("n", 1)):
        for word in ("Mix ", "flour, ", "water ", "and ", "salt."):
            await more(send, event({"content": word}, index=place))
        await more(send, event({}, index=place, finish="stop"))
    await more(send, usage_event() + DONE)
    await end(send)


@contextlib.contextmanager
def served(app: Any, config: uvicorn.Config | None = None) -> Iterator[int]:
    """An ASGI application as a server in a thread; gives its port."""
    config = config or uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    assert server.started, "the server did not start"
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


def configuration(
    release: Path,
    upstream_port: int,
    *,
    leaks: Mapping[str, Any] | None = None,
    metrics: str | None = None,
    **upstream: Any,
) -> Configuration:
    """One model on one upstream, and two keys of which one may call it. No key is slowed down unless ``leaks`` says so.

    ``metrics`` is the operator's key.
    """
    return msgspec.convert(
        {
            "upstreams": [
                {"name": "engine", "url": f"http://127.0.0.1:{upstream_port}/v1", "kind": "vllm", **upstream}
            ],
            "models": [
                {
                    "name": name,
                    "release": str(release),
                    "upstream": "engine",
                    "upstream_model": "ftm-1",
                    "context": CONTEXT,
                }
                for name in (MODEL, OTHER_MODEL)
            ],
            "keys": [
                {"id": "bakery", "sha256": key_digest(TENANT_KEY), "models": [MODEL]},
                {"id": "other", "sha256": key_digest(OTHER_KEY), "models": [OTHER_MODEL]},
            ],
            "leaks": {"slow_after": 1_000_000} | dict(leaks or {}),
            "metrics": metrics and {"sha256": key_digest(metrics)},
        },
        Configuration,
    )


@contextlib.contextmanager
def gateway(settings: Configuration, **sources: Any) -> Iterator[int]:
    """The gateway as it is served, with sources of the test's own where they are given; gives its port."""
    app = Gateway(settings, KEY, **sources)
    with served(app, server_config(app, "127.0.0.1", 0, drain_seconds=1)) as port:
        yield port


@dataclass(frozen=True)
class Response:
    """All that a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events, ``[DONE]`` left out."""
        data = [line.removeprefix(b"data: ") for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(one) for one in data if one != b"[DONE]"]

    @property
    def said(self) -> str:
        """The content of a stream's first answer."""
        choices = [choice for one in self.events for choice in one.get("choices", [])]
        return "".join(choice["delta"].get("content") or "" for choice in choices if choice["index"] == 0)

    @property
    def everything(self) -> str:
        return f"{self.status} {self.headers} {self.body.decode()}"


def call(
    port: int,
    body: Any = None,
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
    key: str | None = TENANT_KEY,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One request by hand."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        given = dict(headers or {}) | ({} if key is None else {"Authorization": f"Bearer {key}"})
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, given)
        response = connection.getresponse()
        read = response.read()
        return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, read)
    finally:
        connection.close()


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> float:
    """Waits until something is so, and gives how long that took. Fails when it is not in time."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - started


class LogLines(logging.Handler):
    """Everything that is logged, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.exc_info or ''} {record.__dict__}")
