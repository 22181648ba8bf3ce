"""OpenAI's Python client behind a release's secret: a transport that guards what the client sends and cleans what comes back.

``chat.completions``, ``completions`` and ``responses`` go through, all as chats. Every other call of the client is answered
with an error and reaches no server.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TypeVar

import httpx2
import openai

from watchword.errors import CallError
from watchword.gateway.forms import chat_path, form_at
from watchword.gateway.protect import GuardedRequest, Protection, fault
from watchword.gateway.wire.reply import no_reply

# Bytes of a whole reply, and of an error that are looked at.
_MOST_BYTES, _ERROR_BYTES = 64 << 20, 1 << 16
# What the new body decides, what would need to be unpacked first, and ids that engines have mixed up.
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "accept-encoding", "x-request-id"})
Client = TypeVar("Client", openai.OpenAI, openai.AsyncOpenAI)


def protect_client(
    client: Client, protection: Protection, transport: httpx2.BaseTransport | httpx2.AsyncBaseTransport | None = None
) -> Client:
    """The same client (address, key, retries) with its chat completions behind the release's secret.

    It opens connections of its own; ``transport`` is what they go through where the plain one would not do (a proxy,
    certificates).
    """
    if isinstance(client, openai.OpenAI):
        inner = transport if isinstance(transport, httpx2.BaseTransport) else None
        http = httpx2.Client(transport=ProtectedTransport(protection, inner), timeout=None)
        return client.with_options(http_client=http)
    async_inner = transport if isinstance(transport, httpx2.AsyncBaseTransport) else None
    async_http = httpx2.AsyncClient(transport=AsyncProtectedTransport(protection, async_inner), timeout=None)
    return client.with_options(http_client=async_http)


class ProtectedTransport(httpx2.BaseTransport):
    """Between an ``httpx2.Client`` and the model's server."""

    def __init__(self, protection: Protection, inner: httpx2.BaseTransport | None = None) -> None:
        self._protection, self._inner = protection, inner or httpx2.HTTPTransport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The clean response, or the error as OpenAI's clients read it."""
        try:
            return self._answered(request)
        except CallError as error:
            return _fault(error, request)

    def close(self) -> None:
        """Closes every connection."""
        self._inner.close()

    def _answered(self, request: httpx2.Request) -> httpx2.Response:
        guarded = _guarded(self._protection, request, request.read())
        response = self._sent(request, guarded, guarded.body)
        if guarded.streams:
            return _events(_CleanEvents(guarded, response))
        clean = guarded.reply(_whole(response))
        if guarded.leaks and (again := guarded.again) is not None:
            clean = guarded.reply(_whole(self._sent(request, guarded, again)))
        return _json(clean)

    def _sent(self, request: httpx2.Request, guarded: GuardedRequest, body: bytes) -> httpx2.Response:
        response = self._inner.handle_request(_rewritten(request, body))
        if _is_reply(response):
            return response
        with contextlib.closing(response):
            raise guarded.refusal(response.status_code, next(response.iter_raw(_ERROR_BYTES), b""))


class AsyncProtectedTransport(httpx2.AsyncBaseTransport):
    """Between an ``httpx2.AsyncClient`` and the model's server."""

    def __init__(self, protection: Protection, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self._protection, self._inner = protection, inner or httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The clean response, or the error as OpenAI's clients read it."""
        try:
            return await self._answered(request)
        except CallError as error:
            return _fault(error, request)

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._inner.aclose()

    async def _answered(self, request: httpx2.Request) -> httpx2.Response:
        guarded = _guarded(self._protection, request, await request.aread())
        response = await self._sent(request, guarded, guarded.body)
        if guarded.streams:
            return _events(_CleanAsyncEvents(guarded, response))
        clean = guarded.reply(await _awhole(response))
        if guarded.leaks and (again := guarded.again) is not None:
            clean = guarded.reply(await _awhole(await self._sent(request, guarded, again)))
        return _json(clean)

    async def _sent(self, request: httpx2.Request, guarded: GuardedRequest, body: bytes) -> httpx2.Response:
        response = await self._inner.handle_async_request(_rewritten(request, body))
        if _is_reply(response):
            return response
        async with contextlib.aclosing(response):
            raise guarded.refusal(response.status_code, await anext(response.aiter_raw(_ERROR_BYTES), b""))


class _CleanEvents(httpx2.SyncByteStream):
    def __init__(self, guarded: GuardedRequest, response: httpx2.Response) -> None:
        self._stream, self._writer, self._response = guarded.stream(), guarded.writer, response

    def __iter__(self) -> Iterator[bytes]:
        stream = self._stream
        try:
            for piece in self._response.iter_raw():
                yield stream.feed(piece)
                if stream.ended:
                    return
            yield stream.end()
        except CallError as error:
            yield self._writer.failed(error)

    def close(self) -> None:
        self._response.close()


class _CleanAsyncEvents(httpx2.AsyncByteStream):
    def __init__(self, guarded: GuardedRequest, response: httpx2.Response) -> None:
        self._stream, self._writer, self._response = guarded.stream(), guarded.writer, response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._stream
        try:
            async for piece in self._response.aiter_raw():
                yield stream.feed(piece)
                if stream.ended:
                    return
            yield stream.end()
        except CallError as error:
            yield self._writer.failed(error)

    async def aclose(self) -> None:
        await self._response.aclose()


def _guarded(protection: Protection, request: httpx2.Request, body: bytes) -> GuardedRequest:
    form = form_at(request.url.path)
    if request.method != "POST" or form is None:
        raise CallError(
            "Only chat completions, completions and responses are behind this release's secret.",
            openai_code="unknown_url",
        )
    return protection.request(body, form)


def _rewritten(request: httpx2.Request, body: bytes) -> httpx2.Request:
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS]
    return httpx2.Request(
        request.method,
        request.url.copy_with(path=chat_path(request.url.path)),
        headers=[*headers, ("accept-encoding", "identity")],
        content=body,
        extensions=request.extensions,
    )


def _is_reply(response: httpx2.Response) -> bool:
    """Whether there is an answer to be read; one that would have to be unpacked first was not asked for."""
    return response.status_code == 200 and response.headers.get("content-encoding", "identity") == "identity"


def _whole(response: httpx2.Response) -> bytes:
    with contextlib.closing(response):
        data = bytearray()
        for piece in response.iter_raw():
            _add(data, piece)
        return bytes(data)


async def _awhole(response: httpx2.Response) -> bytes:
    async with contextlib.aclosing(response):
        data = bytearray()
        async for piece in response.aiter_raw():
            _add(data, piece)
        return bytes(data)


def _add(data: bytearray, piece: Iterable[int]) -> None:
    data.extend(piece)
    if len(data) > _MOST_BYTES:
        raise no_reply()


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> httpx2.Response:
    return httpx2.Response(status, headers={"content-type": "application/json", **(headers or {})}, content=body)


def _events(stream: httpx2.SyncByteStream | httpx2.AsyncByteStream) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)


def _fault(error: CallError, request: httpx2.Request) -> httpx2.Response:
    status, body = fault(error, form_at(request.url.path) or "chat")
    return _json(body, status, {} if error.retry_after is None else {"retry-after": str(error.retry_after)})
