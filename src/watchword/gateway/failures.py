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
    log.error({"event": "failure", "id": exchange_id, **kind_and_places(error)})
    code = "model_unavailable" if isinstance(error, WatchwordError) else "internal_error"
    return CallError("The request could not be answered; try again later.", openai_code=code)


def kind_and_places(error: BaseException, *, last: int | None = None) -> dict[str, object]:
    """What a log may say of any failure: its kind and the ``last`` places it came from. Its words may quote a conversation."""
    frames = traceback.extract_tb(error.__traceback__, limit=None if last is None else -last)
    return {"kind": type(error).__name__, "places": [f"{frame.filename}:{frame.lineno}" for frame in frames]}
