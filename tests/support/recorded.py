"""OpenAI's client with every byte that it receives kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
from openai import OpenAI


class Recording(httpx2.BaseTransport):
    """Passes requests on, and keeps what comes back: headers, bodies and streams."""

    def __init__(self) -> None:
        self._inner = httpx2.HTTPTransport()
        self.received = bytearray()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._inner.handle_request(request)
        self.received += repr(response.headers.raw).encode()
        response.stream = _Kept(response.stream, self.received)  # type: ignore[arg-type]
        return response

    def close(self) -> None:
        self._inner.close()


class _Kept(httpx2.SyncByteStream):
    def __init__(self, stream: Any, received: bytearray) -> None:
        self._stream, self._received = stream, received

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._received += piece
            yield piece

    def close(self) -> None:
        self._stream.close()


def recorded_client(url: str, key: str) -> tuple[OpenAI, Recording]:
    """The client, and what it has received."""
    transport = Recording()
    return OpenAI(base_url=url, api_key=key, http_client=httpx2.Client(transport=transport, timeout=600)), transport
