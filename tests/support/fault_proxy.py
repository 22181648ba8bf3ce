"""A TCP proxy that breaks what goes through it: late, in drips, cut, reset, half-closed or silent, in either direction."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from support.bad_lines import reset


@dataclass(frozen=True)
class Line:
    """One direction of a connection: ``after`` so many bytes, the fault. Pieces have ``size`` bytes and come ``late``."""

    after: int | None = None
    then: Literal["close", "reset", "half", "silence"] = "close"
    size: int = 65536
    late: float = 0.0


@dataclass
class FaultProxy:
    """``up`` is for requests and ``down`` for replies, of connections that are made from then on."""

    target: int
    up: Line = field(default_factory=Line)
    down: Line = field(default_factory=Line)
    port: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)
    _sides: list[socket.socket] = field(default_factory=list)

    def becomes(self, up: Line | None = None, down: Line | None = None) -> None:
        """From now on another line. Connections of before end, so that none of them is used again."""
        self.up, self.down = up or Line(), down or Line()
        for side in self._sides:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        self._sides.clear()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target)) as server:
            self._sides += (client, server)
            pair = [(client, server, self.up), (server, client, self.down)]
            threads = [threading.Thread(target=self._pump, args=one, daemon=True) for one in pair]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _pump(self, source: socket.socket, target: socket.socket, line: Line) -> None:
        """Passes one direction on up to its fault or its end; the end of one side is the end of the other."""
        passed = 0
        with contextlib.suppress(OSError):
            while line.after is None or passed < line.after:
                room = line.size if line.after is None else min(line.size, line.after - passed)
                piece = source.recv(room)
                if not piece:
                    target.shutdown(socket.SHUT_WR)
                    return
                time.sleep(line.late)
                target.sendall(piece)
                passed += len(piece)
            self._break(source, target, line)
            return
        # One side is gone: the other one learns it.
        for side in (source, target):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _break(self, source: socket.socket, target: socket.socket, line: Line) -> None:
        if line.then == "silence":
            # What still comes is lost, and nothing tells that it is.
            while source.recv(65536):
                pass
        elif line.then == "half":
            target.shutdown(socket.SHUT_WR)
            self._ended.wait(2)
        elif line.then == "reset":
            reset(target)
            source.shutdown(socket.SHUT_RDWR)
        else:
            for side in (target, source):
                side.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def fault_proxy(target: int, up: Line | None = None, down: Line | None = None) -> Iterator[FaultProxy]:
    """A proxy in front of a port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = FaultProxy(target, up or Line(), down or Line(), listener.getsockname()[1])

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=proxy._serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy._ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
