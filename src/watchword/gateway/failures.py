"""Errors at the gateway's edges: what callers are told, and what the log may say of one that nobody foresaw."""

from __future__ import annotations

import logging
import traceback

from watchword.errors import CallError, WatchwordError

log = logging.getLogger("watchword.gateway")


def told(error: Exception, exchange_id: str) -> CallError:
    """The error as a caller is told it. Of one that nobody foresaw only its kind and its place are logged, and no word."""
    if isinstance(error, CallError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno}" for frame in frames]
    log.error({"event": "failure", "id": exchange_id, "kind": type(error).__name__, "places": places})
    code = "model_unavailable" if isinstance(error, WatchwordError) else "internal_error"
    return CallError("The request could not be answered; try again later.", openai_code=code)
