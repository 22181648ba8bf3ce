"""The one way to a model's server: a pool of connections, bounds on time, size and number, and errors in words of our own.

Nothing that the server says about an error is passed on: it may quote the prompt, and with it the secret.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NoReturn

import aiohttp

from watchword.errors import CallError
from watchword.gateway.configuration import UpstreamSettings
from watchword.gateway.limiter import Limiter
from watchword.gateway.wire.refusals import REQUEST_FAULTS, refusal
from watchword.gateway.wire.reply import no_reply

CHAT, EMBEDDINGS = "chat/completions", "embeddings"
# Bytes of an error that are looked at.
_ERROR_BYTES = 1 << 16
_IDLE_SECONDS = 15.0


class RefusedError(CallError):
    """A reply that is none. ``status`` and ``said`` are the upstream's own, and never shown to anybody."""

    def __init__(self, told: CallError, status: int, said: bytes) -> None:
        super().__init__(told.problem, openai_code=told.openai_code, param=told.param, retry_after=told.retry_after)
        self.status, self.said = status, said


class Upstream:
    """One server. Made inside a running event loop, and closed there."""

    def __init__(
        self,
        settings: UpstreamSettings,
        api_key: str | None,
        most_bytes: int,
        *,
        on_answer: Callable[[float], None] | None = None,
    ) -> None:
        """``on_answer`` is told the seconds to the beginning of each answer."""
        self._url = f"{settings.url.rstrip('/')}/"
        self.most_bytes, self._on_answer = most_bytes, on_answer
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

    @property
    def waiting(self) -> int:
        """How many requests wait for a place now."""
        return self._limiter.waiting

    async def close(self) -> None:
        """Closes every connection."""
        await self._session.close()

    async def whole(self, body: bytes, path: str = CHAT) -> bytes:
        """The body of a reply. Raises CallError."""
        async with self._limiter:
            response = await self._posted(self._url + path, body)
            try:
                if response.status != 200:
                    await _refused(response)
                return await whole_of(_read(response), self.most_bytes)
            finally:
                response.close()

    @contextlib.asynccontextmanager
    async def pieces(self, body: bytes, path: str = CHAT) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a reply, as they come. Leaving before their end closes the connection, which ends the server's work.

        Raises RefusedError for an answer that is none, and CallError, also between two pieces.
        """
        async with self._limiter:
            started = time.monotonic()
            response = await self._posted(self._url + path, body)
            if self._on_answer is not None:
                self._on_answer(time.monotonic() - started)
            try:
                if response.status != 200:
                    await _refused(response)
                yield _read(response)
            finally:
                # Of no effect behind the last byte: that connection is in the pool again.
                response.close()

    async def manage(self, url: str, body: bytes) -> tuple[int, bytes]:
        """Status and beginning of the answer to a request to the server itself, of which no tenant knows. Raises CallError."""
        response = await self._posted(url, body)
        try:
            with _translated():
                return response.status, await response.content.read(_ERROR_BYTES)
        finally:
            response.close()

    async def _posted(self, url: str, body: bytes) -> aiohttp.ClientResponse:
        """The beginning of the response. A connection that the server had closed while it was idle is replaced once."""
        try:
            return await self._post(url, body)
        except aiohttp.ClientConnectorError as error:
            _failed(error)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            with _translated():
                return await self._post(url, body)
        except (aiohttp.ClientError, TimeoutError) as error:
            _failed(error)

    async def _post(self, url: str, body: bytes) -> aiohttp.ClientResponse:
        return await self._session.post(url, data=body, allow_redirects=False)


async def whole_of(pieces: AsyncIterator[bytes], most: int) -> bytes:
    """All pieces in one. Raises CallError beyond ``most`` bytes."""
    data = bytearray()
    async for piece in pieces:
        data += piece
        if len(data) > most:
            raise no_reply()
    return bytes(data)


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
    """Raises RefusedError for a reply that is none."""
    said = b""
    if response.status in REQUEST_FAULTS:
        with _translated():
            said = await response.content.read(_ERROR_BYTES)
    raise RefusedError(refusal(response.status, said), response.status, said)
