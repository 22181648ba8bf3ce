"""One HTTP request and its response over ASGI: bounded bodies, own headers only, and an end when the client goes away."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from watchword.errors import CallError
from watchword.gateway.wire.faults import OpenAIFaults, fault_event
from watchword.gateway.wire.form import FaultForm, Writer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
JSON, EVENTS = b"application/json", b"text/event-stream; charset=utf-8"


class ClientGoneError(Exception):
    """The client has closed its connection: nobody is there to be answered."""


class HttpExchange:
    """A request and the response to it. ``status`` is None until the response begins.

    ``faults`` writes an error in place of the response, ``writer`` one that breaks off a stream.
    """

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        # Where the application is mounted is no part of what it serves.
        self.path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive, self._send = receive, send
        # Never the client's own: engines have mixed up requests of the same id.
        self.id = f"req_{secrets.token_hex(16)}"
        self.status: int | None = None
        self.faults: FaultForm = OpenAIFaults()
        self.writer: Writer | None = None
        self._streaming = self._done = False

    def header(self, name: bytes) -> str:
        """The value of a request's header, empty where it is not there."""
        return next((value.decode("latin-1") for key, value in self._headers if key == name), "")

    async def body(self, most: int) -> bytes:
        """The request's body. Raises CallError beyond ``most`` bytes, and ClientGoneError."""
        length = self.header(b"content-length")
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        data = bytearray()
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGoneError
            data += message.get("body", b"")
            if len(data) > most:
                raise _too_large(most)
            if not message.get("more_body", False):
                return bytes(data)

    @contextlib.asynccontextmanager
    async def while_there(self) -> AsyncIterator[None]:
        """What runs inside is cancelled when the client goes away, and ends in ClientGoneError. The body must be read."""
        task, gone = asyncio.current_task(), False
        assert task is not None

        async def watch() -> None:
            nonlocal gone
            while (await self._receive())["type"] != "http.disconnect":
                pass
            # Servers say so behind a whole response as well.
            if not self._done:
                gone = True
                task.cancel()

        watcher = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not gone:
                raise
            task.uncancel()
            raise ClientGoneError from None
        finally:
            watcher.cancel()

    async def answer(self, body: bytes, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        """A whole response."""
        self._done = True
        await self._start(status, JSON, [(b"content-length", str(len(body)).encode()), *(headers or [])])
        await self._send({"type": "http.response.body", "body": body})

    async def send_events(self, data: bytes) -> None:
        """Events of a stream; the first ones begin the response."""
        if not self._streaming:
            self._streaming = True
            await self._start(200, EVENTS, [(b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")])
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end_events(self) -> None:
        """The end of a stream."""
        self._done = True
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: CallError) -> None:
        """The error as a response, or as the last event of a stream that has begun."""
        if self._streaming:
            await self.send_events(fault_event(error) if self.writer is None else self.writer.failed(error))
            await self.end_events()
        else:
            wait = [] if error.retry_after is None else [(b"retry-after", str(error.retry_after).encode())]
            await self.answer(self.faults.body(error, self.id), self.faults.status(error), wait)

    async def _start(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        # OpenAI's name of the header, and Anthropic's.
        ids = [(b"x-request-id", self.id.encode()), (b"request-id", self.id.encode())]
        own = [(b"content-type", content_type), *ids]
        await self._send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})


def _too_large(most: int) -> CallError:
    return CallError(f"The request's body is larger than {most} bytes.", openai_code="request_too_large")
