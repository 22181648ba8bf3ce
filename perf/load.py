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
# Seconds in which an answer must have come.
_PATIENCE = 60.0


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


class Caller:
    """Asks one server for one thing. Raises SystemExit for any answer without ``expected`` in it."""

    def __init__(self, url: str, headers: dict[str, str], body: bytes, expected: bytes) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._expected = parts.hostname or "", parts.port or 80, expected
        given = {"Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self._request = f"POST {parts.path} HTTP/1.1\r\n{lines}\r\n".encode() + body

    async def pressed(self, connections: int, seconds: float) -> list[Answer]:
        """Answers to as many connections that ask again as soon as they are answered."""
        async with self._connected(connections) as found:
            until = time.perf_counter() + seconds

            async def one(connection: Connection) -> list[Answer]:
                answers = []
                while time.perf_counter() < until:
                    answers.append(await self._ask(connection))
                return answers

            return [answer for answers in await asyncio.gather(*map(one, found)) for answer in answers]

    async def paced(self, rate: float, seconds: float) -> list[Answer]:
        """Answers at ``rate`` requests a second, whether the ones before are answered or not."""
        async with self._connected(4) as free:

            async def one(due: float) -> Answer:
                await asyncio.sleep(due - time.perf_counter())
                connection = free.pop() if free else await self._connection()
                answer = await self._ask(connection)
                free.append(connection)
                return answer

            began = time.perf_counter() + 0.05
            return list(await asyncio.gather(*(one(began + at / rate) for at in range(int(rate * seconds)))))

    async def _ask(self, connection: Connection) -> Answer:
        async with asyncio.timeout(_PATIENCE):
            answer = await connection.ask(self._request)
        if self._expected not in answer.data:
            raise SystemExit(f"port {self._port} answered {answer.data[:600]!r}")
        return answer

    async def _connection(self) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, self._host, self._port))[1]

    @contextlib.asynccontextmanager
    async def _connected(self, count: int) -> AsyncIterator[list[Connection]]:
        found = [await self._connection() for _ in range(count)]
        try:
            yield found
        finally:
            for connection in found:
                connection.transport.close()
