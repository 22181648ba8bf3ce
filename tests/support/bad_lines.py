"""An upstream on a bad line: a TCP server that answers with raw bytes, then resets, half-closes, drips or falls silent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

Act = Callable[[socket.socket, threading.Event], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
# Seconds between two steps of a slow upstream.
STEP = 0.05


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def whole(body: bytes) -> bytes:
    """A whole response that leaves the connection open."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def reset(connection: socket.socket) -> None:
    """Ends a connection the hard way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def sending(*pieces: bytes, then: str = "close") -> Act:
    """Sends pieces with pauses; then closes, resets (at the next request), half-closes, or stays silent."""

    def act(connection: socket.socket, ended: threading.Event) -> None:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(STEP)
        if then == "next":
            # Looks alive until it is used again.
            connection.recv(1)
        if then in ("reset", "next"):
            reset(connection)
        elif then == "half":
            connection.shutdown(socket.SHUT_WR)
            ended.wait(5)
        elif then == "silence":
            ended.wait(30)

    return act


def dripping(data: bytes) -> Act:
    """Sends byte by byte."""

    def act(connection: socket.socket, ended: threading.Event) -> None:
        for at in range(len(data)):
            connection.sendall(data[at : at + 1])
            time.sleep(0.001)

    return act


@contextlib.contextmanager
def bad_line(*acts: Act) -> Iterator[int]:
    """A server whose n-th request meets the n-th act, the last one from then on; gives its port."""
    ended, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))
    waiting = list(acts)

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if _request(connection):
                act = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                act(connection, ended)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _request(connection: socket.socket) -> bytes:
    """The next request's bytes; empty where the other side has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    return head + body
