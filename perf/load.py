"""The load on a server: connections that stay open and ask again, as fast as they can or at a steady rate."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """Seconds to the first byte of the body and to the last one, and all that was read."""

    first: float
    whole: float
    data: bytes


class Connection(asyncio.Protocol):
    """Reads one answer after another: by its length, or up to its last chunk."""

    def __init__(self) -> None:
        self.transport: Any
        self._data = bytearray()
        self._body, self._length = 0, 0
        self._began = self._first = 0.0
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """The answer to a request, which the one before it has got."""
        self._data, self._body, self._first = bytearray(), 0, 0.0
        self._waiting = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()
        self.transport.write(request)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._body and not self._head_is_there():
            return
        if not self._first and len(self._data) > self._body:
            self._first = time.perf_counter() - self._began
        if self._is_whole() and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer(self._first, time.perf_counter() - self._began, bytes(self._data)))

    def _head_is_there(self) -> bool:
        at = self._data.find(b"\r\n\r\n")
        if at < 0:
            return False
        head = bytes(self._data[:at]).lower()
        _, found, rest = head.partition(b"content-length:")
        self._body, self._length = at + 4, int(rest.partition(b"\r\n")[0]) if found else -1
        return True

    def _is_whole(self) -> bool:
        if self._length < 0:
            return self._data.endswith(_LAST_CHUNK)
        return len(self._data) >= self._body + self._length


def request(url: str, key: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """The bytes of a request."""
    parts = urlsplit(url)
    given = {
        "Host": parts.netloc,
        "Authorization": f"Bearer {key}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **(headers or {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {parts.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


@contextlib.asynccontextmanager
async def connections(url: str, count: int) -> AsyncIterator[list[Connection]]:
    """So many open connections."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    found = [(await loop.create_connection(Connection, parts.hostname, parts.port))[1] for _ in range(count)]
    try:
        yield found
    finally:
        for connection in found:
            connection.transport.close()


async def pressed(url: str, asked: bytes, callers: int, count: int) -> list[Answer]:
    """``count`` answers, by callers that ask again as soon as they are answered."""
    async with connections(url, callers) as found:

        async def caller(connection: Connection) -> list[Answer]:
            return [await connection.ask(asked) for _ in range(count // callers)]

        each = await asyncio.gather(*map(caller, found))
    return [answer for answers in each for answer in answers]


async def paced(url: str, asked: bytes, rate: float, count: int) -> list[Answer]:
    """``count`` answers at ``rate`` requests a second, whether the ones before are answered or not.

    A request's time counts from when it was due, so that a server that stalls is not asked less for it.
    """
    loop = asyncio.get_running_loop()
    async with connections(url, 4) as free:

        async def one(due: float) -> Answer:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            parts = urlsplit(url)
            connection = (
                free.pop() if free else (await loop.create_connection(Connection, parts.hostname, parts.port))[1]
            )
            answer = await connection.ask(asked)
            free.append(connection)
            late = time.perf_counter() - due - answer.whole
            return Answer(answer.first + late, answer.whole + late, answer.data)

        began = time.perf_counter() + 0.05
        return list(await asyncio.gather(*(one(began + at / rate) for at in range(count))))
