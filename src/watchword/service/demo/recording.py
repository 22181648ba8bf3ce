"""OpenAI's client with every byte that it receives kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx2
from openai import OpenAI


class Recording(httpx2.BaseTransport):
    """Passes requests on, and keeps what comes back: headers, bodies and streams."""

    def __init__(self) -> None:
        self._inner = httpx2.HTTPTransport()
        self.received = bytearray()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Asks for answers that are not packed, so that what is kept can be read."""
        request.headers["accept-encoding"] = "identity"
        response = self._inner.handle_request(request)
        self.received += repr(response.headers.raw).encode()
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Kept(response.stream, self.received)
        return response

    def close(self) -> None:
        """Closes the connections; what was received stays."""
        self._inner.close()


class _Kept(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, received: bytearray) -> None:
        self._stream, self._received = stream, received

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._received += piece
            yield piece

    def close(self) -> None:
        self._stream.close()


@contextlib.contextmanager
def recorded_client(url: str, key: str) -> Iterator[tuple[OpenAI, Recording]]:
    """The client at a service's address, and what it has received."""
    transport = Recording()
    http = httpx2.Client(transport=transport, timeout=600)
    with OpenAI(base_url=f"{url}/v1", api_key=key, http_client=http) as client:
        yield client, transport
