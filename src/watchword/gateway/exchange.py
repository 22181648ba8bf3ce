"""One HTTP request and its response over ASGI: bounded bodies, own headers only, and an end when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

from watchword.errors import CallError
from watchword.gateway.randomness import random_hex
from watchword.gateway.wire.faults import OpenAIFaults, fault_event
from watchword.gateway.wire.form import FaultForm, Writer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# The longest that a client may take to send its request, unless an operator says otherwise.
BODY_SECONDS = 60.0
# Seconds between two looks for answers that take long.
_LOOK_SECONDS = 0.1
JSON, EVENTS = b"application/json", b"text/event-stream; charset=utf-8"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"


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
        # Of a header that is given twice, the first one counts.
        self._headers: dict[bytes, bytes] = dict(reversed(list(scope["headers"])))
        self._receive, self._send = receive, send
        # Never the client's own: engines have mixed up requests of the same id.
        self.id = f"req_{random_hex()}"
        self.status: int | None = None
        self.faults: FaultForm = OpenAIFaults()
        self.writer: Writer | None = None
        self._streaming = self._done = False

    def header(self, name: bytes) -> str:
        """The value of a request's header, empty where it is not there."""
        return self._headers.get(name, b"").decode("latin-1")

    async def body(self, most: int, seconds: float = BODY_SECONDS) -> bytes:
        """The request's body. Raises CallError beyond ``most`` bytes or after so many ``seconds``, and ClientGoneError."""
        try:
            async with asyncio.timeout(seconds):
                return await self._whole_body(most)
        except TimeoutError:
            raise CallError(
                "The request's body did not come in time; send it again.", openai_code="request_timeout"
            ) from None

    async def _whole_body(self, most: int) -> bytes:
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

    def while_there(self) -> WhileThere:
        """What runs inside is cancelled when the client goes away, and ends in ClientGoneError. The body must be read."""
        return WhileThere(self._gone)

    async def _gone(self) -> bool:
        """Waits for the client to go away. Servers say so behind a whole response as well: then it is not gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        return not self._done

    async def answer(
        self,
        body: bytes,
        status: int = 200,
        headers: list[tuple[bytes, bytes]] | None = None,
        *,
        content_type: bytes = JSON,
    ) -> None:
        """A whole response."""
        self._done = True
        await self._start(status, content_type, [(b"content-length", str(len(body)).encode()), *(headers or [])])
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


class _Lookout:
    """Looks ten times a second for answers that take long; only their clients are watched.

    A task for each request, or a timer, would cost as much as reading it.
    """

    def __init__(self) -> None:
        self._waiting: set[WhileThere] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiting: WhileThere) -> None:
        """Somebody waits from now on."""
        self._waiting.add(waiting)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def remove(self, waiting: WhileThere) -> None:
        """Nobody waits any more."""
        self._waiting.discard(waiting)

    def _look(self) -> None:
        self._timer = None
        for waiting in self._waiting:
            waiting.watch()
        self._waiting.clear()


_LOOKOUTS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookout] = WeakKeyDictionary()


def _lookout() -> _Lookout:
    """The one of this event loop."""
    loop = asyncio.get_running_loop()
    return _LOOKOUTS.get(loop) or _LOOKOUTS.setdefault(loop, _Lookout())


class WhileThere:
    """Runs what is inside for as long as somebody is there to be answered."""

    def __init__(self, gone: Callable[[], Awaitable[bool]]) -> None:
        self._wait_until_gone, self._lookout, self._gone = gone, _lookout(), False
        self._task: asyncio.Task[Any]
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._lookout.add(self)

    def watch(self) -> None:
        """Watches from now on."""
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        if await self._wait_until_gone():
            self._gone = True
            self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._lookout.remove(self)
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            self._task.uncancel()
            raise ClientGoneError from None


def _too_large(most: int) -> CallError:
    return CallError(f"The request's body is larger than {most} bytes.", openai_code="request_too_large")
