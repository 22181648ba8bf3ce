"""The outermost part of the API: who calls, how often, how much, and one line of the log for each call.

The caller is known before anything of a body is read. Whatever fails behind is answered here in the end, without a word
of it in the answer or the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from watchword.errors import CallError, WatchwordError
from watchword.gateway.failures import kind_and_places
from watchword.gateway.routes import MODELS
from watchword.service.api.telemetry import span_of
from watchword.service.logs import log
from watchword.service.types.tenants import Principal, Scope
from watchword.service.wire.faults import fault_json, fault_of, internal, status_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

TENANT_PATHS, OPERATOR_PATHS = "/v1/", ("/operator/", "/metrics")
CLIENT_GONE = 499
_ID, _KEY = b"x-request-id", b"x-api-key"


class Callers(Protocol):
    """Who has a key."""

    async def principal(self, authorization: str) -> Principal | None:
        """Whose key stands in a request's Authorization header; None for nobody's."""


class Observer(Protocol):
    """Who counts calls."""

    def observe(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one call."""


class Edge:
    """An ASGI application around another. ``limit`` is told of each caller's call, and may refuse it.

    For paths of which ``asks_itself`` is true, the application behind asks for the key and counts.
    """

    def __init__(
        self,
        app: App,
        callers: Callers,
        observer: Observer,
        *,
        limit: Callable[[Principal], Awaitable[None]],
        asks_itself: Callable[[str], bool],
    ) -> None:
        self._app, self._callers, self._observer = app, callers, observer
        self._limit, self._asks_itself = limit, asks_itself

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        call = _Call(scope, send)
        with span_of(call.method) as span:
            try:
                await self._admitted(call, scope, receive)
            except WatchwordError as error:
                await call.fail(told(error, call.id))
            except asyncio.CancelledError:
                call.gone = True
                raise
            except Exception as error:  # noqa: BLE001 -- the boundary: whatever failed, no word of it reaches a tenant or the log
                note_failure(error, call.id)
                await call.fail(internal())
            finally:
                call.write(self._observer)
                span.end(route=call.route, status=call.status, request_id=call.id)

    async def _admitted(self, call: _Call, scope: Message, receive: Receive) -> None:
        scope["state"]["request_id"] = call.id
        wanted = None if self._asks_itself(scope["path"]) else _scope_of(scope["path"])
        if wanted is not None:
            principal = await self._callers.principal(_authorization(call, scope["path"]))
            call.principal = principal = _allowed(principal, wanted)
            await self._limit(principal)
            scope["state"]["principal"] = principal
        await self._app(scope, receive, call.send)


class _Call:
    """One call: its id, and how it went."""

    def __init__(self, scope: Message, send: Send) -> None:
        # Never the client's own id: it would stand in our log.
        self.id = f"req_{secrets.token_hex(16)}"
        self.method: str = scope["method"]
        self.principal: Principal | None = None
        self.status: int | None = None
        self.code: str | None = None
        self.gone = False
        self._scope, self._send, self._started = scope, send, time.monotonic()

    @property
    def route(self) -> str:
        """The route's template, without anybody's ids; empty where there is none."""
        return str(getattr(self._scope.get("route"), "path", ""))

    def header(self, name: bytes) -> str:
        """The value of a request's header, empty where it is not there."""
        found = (value for key, value in self._scope["headers"] if key == name)
        return next(found, b"").decode("latin-1")

    async def send(self, message: Message) -> None:
        """Passes a message on, with the call's id in its headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            # The gateway gives its calls an id of its own, which stands in its log.
            given = next((value.decode() for name, value in headers if name == _ID), None)
            self.id = given or self.id
            message = {**message, "headers": headers if given else [*headers, (_ID, self.id.encode())]}
        await self._send(message)

    async def fail(self, error: CallError) -> None:
        """Answers an error, unless an answer has begun."""
        self.code = error.openai_code
        if self.status is not None:
            return
        body = fault_json(error)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += error_headers(error)
        with contextlib.suppress(OSError):
            await self.send({"type": "http.response.start", "status": status_of(error), "headers": headers})
            await self.send({"type": "http.response.body", "body": body})

    def write(self, observer: Observer) -> None:
        """Counts the call, and writes its line of the log: what happened, and no text of anybody's."""
        seconds = time.monotonic() - self._started
        status = CLIENT_GONE if self.gone or self.status is None else self.status
        observer.observe(method=self.method, route=self.route, status=status, seconds=seconds)
        line = {
            "event": "call",
            "id": self.id,
            "key": self.principal.key_id if self.principal else None,
            "method": self.method,
            "route": self.route or None,
            "status": status,
            "code": self.code or self._scope["state"].get("code"),
            "ms": round(seconds * 1000, 1),
        }
        log.info({name: value for name, value in line.items() if value is not None})


def told(error: WatchwordError, request_id: str) -> CallError:
    """The error as its caller may read it. One that is not the caller's fault is noted, without its words."""
    fault = fault_of(error)
    if status_of(fault) >= 500 and not isinstance(error, CallError):
        note_failure(error, request_id)
    return fault


def error_headers(error: CallError) -> list[tuple[bytes, bytes]]:
    """When the client may come again, and whether it should at all: it repeats each 429 without such a word."""
    if error.retry_after is not None:
        return [(b"retry-after", str(error.retry_after).encode())]
    return [(b"x-should-retry", b"false")] if status_of(error) == 429 else []


def _authorization(call: _Call, path: str) -> str:
    """The Authorization header. Anthropic's client lists models with the key in a header of its own."""
    key = call.header(_KEY) if path == MODELS or path.startswith(f"{MODELS}/") else ""
    return f"Bearer {key}" if key else call.header(b"authorization")


def _scope_of(path: str) -> Scope | None:
    """Which kind of key a path wants; None for one that needs none."""
    if path.startswith(OPERATOR_PATHS):
        return Scope.OPERATOR
    return Scope.TENANT if path.startswith(TENANT_PATHS) else None


def _allowed(principal: Principal | None, wanted: Scope) -> Principal:
    if principal is None:
        raise CallError(
            "Incorrect API key provided; send 'Authorization: Bearer KEY' with a key of this service.",
            openai_code="invalid_api_key",
        )
    if principal.scope is not wanted:
        raise CallError(
            f"This key is of scope '{principal.scope}', and this URL takes keys of scope '{wanted}'.",
            openai_code="insufficient_permissions",
        )
    return principal


def note_failure(error: Exception, request_id: str) -> None:
    """Of a failure that nobody foresaw only its kind and its place are logged, and what the system says of it."""
    line = {"event": "failure", "id": request_id, **kind_and_places(error, last=12)}
    log.error(line if (why := reason_of(error)) is None else line | {"why": why})


def reason_of(error: BaseException | None) -> str | None:
    """What the system or the database said, by its own name for it, which holds no text of anybody's: a full disk, say."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return os.strerror(error.errno)
        name = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
        if isinstance(name, str):
            return name
        error = getattr(error, "orig", None) or error.__cause__
    return None
