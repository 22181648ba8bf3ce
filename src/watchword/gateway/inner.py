"""An ASGI application that answers one guarded request, as if it were a model's server on another machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from watchword.gateway.exchange import Message, Receive
from watchword.gateway.wire.reply import no_reply

Application = Callable[[Any, Any, Any], Awaitable[None]]
# Messages that the application may be ahead of the tenant.
_AHEAD = 4
# What the guarded body decides, what would have to be unpacked again, and ids that engines have mixed up.
_OWN_HEADERS = frozenset(
    {b"content-length", b"content-type", b"transfer-encoding", b"accept-encoding", b"x-request-id"}
)


@dataclass(frozen=True)
class InnerResponse:
    """How the response begins, and its bytes as they come."""

    status: int
    encoded: bool
    pieces: AsyncIterator[bytes]

    async def whole(self, most: int) -> bytes:
        """All bytes. Raises CallError beyond ``most``."""
        data = bytearray()
        async for piece in self.pieces:
            data += piece
            if len(data) > most:
                raise no_reply()
        return bytes(data)


@contextlib.asynccontextmanager
async def answered(app: Application, scope: Message, body: bytes) -> AsyncIterator[InnerResponse]:
    """The application's response. Leaving before its end tells it that the client has gone, and cancels it.

    Raises CallError for what is no response, and whatever the application raises.
    """
    run = _Run()
    task = asyncio.create_task(run.of(app, _inner_scope(scope, len(body)), body))
    try:
        yield await run.response()
    finally:
        run.gone.set()
        # Whoever waits for the client's going away is told before it is cancelled.
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            # Looked at, so that asyncio writes none of its words to the log.
            task.exception()


class _Run:
    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(_AHEAD)
        self._failure: Exception | None = None

    async def of(self, app: Application, scope: Message, body: bytes) -> None:
        try:
            await app(scope, self._receive(body), self._send)
        except Exception as error:
            # Not kept for nobody: with its frames it would keep the application's own generators from being closed.
            self._failure = None if self.gone.is_set() else error
            raise
        finally:
            self._messages.put_nowait(None)

    async def response(self) -> InnerResponse:
        start = await self._next()
        if start["type"] != "http.response.start":
            raise no_reply()
        headers = {name.lower(): value.lower() for name, value in start.get("headers", ())}
        encoded = headers.get(b"content-encoding", b"identity") != b"identity"
        return InnerResponse(start["status"], encoded, self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._next()
            if message["type"] != "http.response.body":
                raise no_reply()
            if piece := bytes(message.get("body", b"")):
                yield piece
            if not message.get("more_body", False):
                return

    async def _next(self) -> Message:
        message = await self._messages.get()
        self._room.release()
        if message is not None:
            return message
        failure, self._failure = self._failure, None
        raise failure or no_reply()

    def _receive(self, body: bytes) -> Receive:
        given = False

        async def receive() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        return receive

    async def _send(self, message: Message) -> None:
        await self._room.acquire()
        if self.gone.is_set():
            raise OSError("the client has gone")
        self._messages.put_nowait(message)


def _inner_scope(scope: Message, size: int) -> Message:
    """The scope of the guarded request. Without extensions: a file that is sent by its path could not be looked at.

    Since version 2.4 of ASGI ``send`` may fail when the client has gone, and applications end at once.
    """
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _OWN_HEADERS]
    own = [(b"content-type", b"application/json"), (b"content-length", str(size).encode())]
    asgi = {**scope.get("asgi", {}), "spec_version": "2.4"}
    return {**scope, "asgi": asgi, "headers": [*headers, *own, (b"accept-encoding", b"identity")], "extensions": {}}


def chat_scope(scope: Message, path: str) -> Message:
    """The scope of the same request at another path."""
    return scope if path == scope["path"] else {**scope, "path": path, "raw_path": quote(path).encode()}
