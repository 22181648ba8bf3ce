"""Running the gateway as a server: uvicorn with uvloop, a log of JSON lines, and a drain at SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import sys
import time
from typing import Any, TextIO

import msgspec
import uvicorn

from watchword.gateway.app import Gateway

_ENCODER = msgspec.json.Encoder()
_OWN_LOG = "watchword.gateway"
# The lines of calls wait for so long, and for so many others, at most.
_LINES_SECONDS, _MOST_LINES = 0.05, 512
_HOUSEKEEPING_SECONDS = 1
# Python's own 700 make a search for garbage in every third request.
_NEW_OBJECTS = 10_000


def serve(gateway: Gateway, host: str, port: int, *, drain_seconds: int) -> None:
    """Serves until SIGTERM or Ctrl-C: then new connections are refused, and open requests have ``drain_seconds`` to end."""
    log_to_stderr()
    uvicorn.Server(server_config(gateway, host, port, drain_seconds=drain_seconds)).run()


def server_config(app: Any, host: str, port: int, *, drain_seconds: int) -> uvicorn.Config:
    """How the gateway is served. No header tells what stands behind it, and no log but our own tells who called."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=drain_seconds,
        callback_notify=Housekeeping(),
        timeout_notify=_HOUSEKEEPING_SECONDS,
    )


class Housekeeping:
    """What a process does beside answering. ``parent`` is the process that started it, where it must not outlive that one."""

    def __init__(self, parent: int | None = None) -> None:
        self._parent, self._settled = parent, False

    async def __call__(self) -> None:
        if not self._settled:
            self._settled = True
            _settle()
        if self._parent is not None and os.getppid() != self._parent:
            # Nobody would stop it any more.
            signal.raise_signal(signal.SIGTERM)


def _settle() -> None:
    """Takes what is there at the start, tokenizers above all, out of every later search for garbage, and searches less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
        return _ENCODER.encode(
            {"time": _moment(int(record.created)), "level": record.levelname.lower(), **said}
        ).decode()


@functools.lru_cache(maxsize=1)
def _moment(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


class _BatchedLines(logging.StreamHandler[TextIO]):
    """Writes the lines of ordinary calls some at a time: one write for each would cost a fifth of the call.

    Everything else is written at once, with the lines before it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))
        try:
            if record.levelno > logging.INFO or record.name != _OWN_LOG or len(self._lines) >= _MOST_LINES:
                self._write()
            elif len(self._lines) == 1:
                self._write_soon()
        except OSError:
            # As logging does it: whoever called has its answer, log or no log.
            self.handleError(record)

    def _write_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_later(_LINES_SECONDS, self.flush)
        except RuntimeError:
            self._write()

    def flush(self) -> None:
        """Writes what is waiting."""
        with self.lock or contextlib.nullcontext():
            self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self.stream.write("\n".join([*lines, ""]))
            self.stream.flush()


def log_to_stderr() -> None:
    """The log of this process: one JSON line for each call and each event of the server's."""
    handler = _BatchedLines(sys.stderr)
    handler.setFormatter(_JsonLines())
    # What logging would look up for each line, and nothing here writes ("Optimization" in its documentation).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    for name in (_OWN_LOG, "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
