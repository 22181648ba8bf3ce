"""Running the gateway as a server: uvicorn with uvloop, a log of JSON lines, and a drain at SIGTERM."""

from __future__ import annotations

import logging
import sys
import time

import msgspec
import uvicorn

from watchword.gateway.app import Gateway


def serve(gateway: Gateway, host: str, port: int, *, drain_seconds: int) -> None:
    """Serves until SIGTERM or Ctrl-C: then new connections are refused, and open requests have ``drain_seconds`` to end."""
    _log_to_stderr()
    uvicorn.Server(server_config(gateway, host, port, drain_seconds=drain_seconds)).run()


def server_config(gateway: Gateway, host: str, port: int, *, drain_seconds: int) -> uvicorn.Config:
    """How the gateway is served. No header tells what stands behind it, and no log but our own tells who called."""
    return uvicorn.Config(
        gateway,
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
    )


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return msgspec.json.encode({"time": moment, "level": record.levelname.lower(), **said}).decode()


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    for name in ("watchword.gateway", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
