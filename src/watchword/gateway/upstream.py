"""The one way to a model's server: a pool of connections, bounds on time, size and number, and errors in words of our own.

Nothing that the server says about an error is passed on: it may quote the prompt, and with it the secret.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from typing import NoReturn

import aiohttp

from watchword.errors import CallError
from watchword.gateway.configuration import UpstreamSettings
from watchword.gateway.limiter import Limiter
from watchword.gateway.wire.reply import no_reply

# How servers say that a request is too long: vLLM, SGLang, llama.cpp, hosted ones.
_TOO_LONG = re.compile(
    rb"context[_ ](length|window|size)|maximum (input|prompt|model) length|max_model_len|(input|prompt).{0,40}too long",
    re.IGNORECASE | re.DOTALL,
)
# Bytes of an error that are looked at.
_ERROR_BYTES = 1 << 16
_IDLE_SECONDS = 15.0


class Upstream:
    """One server. Made inside a running event loop, and closed there."""

    def __init__(self, settings: UpstreamSettings, api_key: str | None, most_bytes: int) -> None:
        self._url = f"{settings.url.rstrip('/')}/chat/completions"
        self._most_bytes = most_bytes
        self._limiter = Limiter(settings.max_concurrent, settings.max_queue, settings.queue_seconds)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.connect_seconds, sock_read=settings.read_seconds
            ),
        )

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()

    async def whole(self, body: bytes) -> bytes:
        """The body of a reply. Raises CallError."""
        async with self._limiter:
            response = await self._posted(body)
            try:
                if response.status != 200:
                    await _refused(response)
                return await self._all(response)
            finally:
                response.close()

    @contextlib.asynccontextmanager
    async def pieces(self, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a reply, as they come. Leaving before their end closes the connection, which ends the server's work.

        Raises CallError, also between two pieces.
        """
        async with self._limiter:
            response = await self._posted(body)
            try:
                if response.status != 200:
                    await _refused(response)
                yield _read(response)
            finally:
                # Of no effect behind the last byte: that connection is in the pool again.
                response.close()

    async def _all(self, response: aiohttp.ClientResponse) -> bytes:
        data = bytearray()
        try:
            while piece := await response.content.readany():
                data += piece
                if len(data) > self._most_bytes:
                    raise no_reply()
        except (aiohttp.ClientError, TimeoutError) as error:
            _failed(error)
        return bytes(data)

    async def _posted(self, body: bytes) -> aiohttp.ClientResponse:
        """The beginning of the response. A connection that the server had closed while it was idle is replaced once."""
        try:
            return await self._post(body)
        except aiohttp.ClientConnectorError as error:
            _failed(error)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            with _translated():
                return await self._post(body)
        except (aiohttp.ClientError, TimeoutError) as error:
            _failed(error)

    async def _post(self, body: bytes) -> aiohttp.ClientResponse:
        return await self._session.post(self._url, data=body, allow_redirects=False)


async def _read(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    with _translated():
        while piece := await response.content.readany():
            yield piece


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        _failed(error)


def _failed(error: Exception) -> NoReturn:
    """Raises CallError for a connection that failed. Without its cause, whose words are not ours."""
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        raise CallError(
            "The model's server cannot be reached; try again later.", openai_code="model_unavailable"
        ) from None
    if isinstance(error, TimeoutError):
        raise CallError(
            "The model's server did not answer in time; try again.", openai_code="upstream_timeout"
        ) from None
    raise CallError("The connection to the model's server broke; try again.", openai_code="upstream_error") from None


async def _refused(response: aiohttp.ClientResponse) -> NoReturn:
    """Raises CallError for a reply that is none."""
    status = response.status
    if status in (400, 413, 422):
        with _translated():
            said = await response.content.read(_ERROR_BYTES)
        if _TOO_LONG.search(said):
            raise CallError(
                "The messages and the answer asked for are longer than the model's context.",
                openai_code="context_length_exceeded",
                param="messages",
            )
        raise CallError("The model's server rejects this request.", openai_code="invalid_request")
    if status == 429:
        raise CallError("The model's server is busy; try again.", openai_code="rate_limit_exceeded", retry_after=1)
    if status in (404, 503):
        raise CallError(
            "The model is not being served at the moment; try again later.", openai_code="model_unavailable"
        )
    raise no_reply()
