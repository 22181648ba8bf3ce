"""The service's log: one JSON line for each event, on standard error, with ids and figures and no text of anybody's."""

from __future__ import annotations

import logging
import sys
import time

import msgspec

_OWN = ("watchword.service", "watchword.gateway", "uvicorn.error")
log = logging.getLogger("watchword.service")


class JsonLines(logging.Formatter):
    """A record as one line of JSON. Of a failure only its kind is written, for its words may be a tenant's."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
        kind = {"kind": record.exc_info[0].__name__} if record.exc_info and record.exc_info[0] else {}
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return msgspec.json.encode({"time": moment, "level": record.levelname.lower(), **said, **kind}).decode()


def log_to_stderr() -> None:
    """Sends our own log, and that of the server, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in _OWN:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
