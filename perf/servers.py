"""Servers under measurement: each in processes of its own, on cores of its own, with what it costs read from /proc."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_READY_SECONDS = 300
_TICK, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


@dataclass
class Server:
    """A server, and what was measured of it, one value a round. ``headers`` are those that it wants of a request."""

    base: str
    headers: dict[str, str]
    process: subprocess.Popen[bytes]
    figures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.base}/chat/completions"

    def add(self, **figures: float) -> None:
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the server so far, its workers' included."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._pids()]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / _TICK

    @property
    def rss_mb(self) -> float:
        """Memory of the server now."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self._pids())
        return sum(map(int, pages)) * _PAGE / 2**20

    def _pids(self) -> list[int]:
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def run_server(
    command: Sequence[str],
    port: int,
    headers: Mapping[str, str] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    prefix: str = "/v1",
) -> Server:
    """Starts a server and waits until it listens on its port. What it logs is written, and goes nowhere."""
    process = subprocess.Popen(  # noqa: S603 -- commands of these scripts
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    server = Server(f"http://127.0.0.1:{port}{prefix}", dict(headers or {}), process)
    until = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return server
        time.sleep(0.1)
    server.stop()
    raise SystemExit(f"it did not start: {' '.join(command)}")


def python_server(script: str, *arguments: str, port: int) -> Server:
    """A script beside this one as a server."""
    path = Path(__file__).with_name(script)
    return run_server([sys.executable, str(path), str(port), *arguments], port)


@contextlib.contextmanager
def on_cores(*cores: int) -> Iterator[None]:
    """What starts inside stays on these cores, where the system can do that and has them."""
    if not hasattr(os, "sched_setaffinity") or not set(cores) <= (before := os.sched_getaffinity(0)):
        yield
        return
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
