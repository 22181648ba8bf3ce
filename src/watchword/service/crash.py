"""The service's crash points: where a test may end one of its processes (``files.crash``)."""

from __future__ import annotations

from watchword.files.crash import ASKED_BY, crash_point

__all__ = ["API_POINTS", "ASKED_BY", "CHILD_POINTS", "WORKER_POINTS", "crash_point"]

WORKER_POINTS = (
    "after_claim",
    "after_start",
    "after_child_started",
    "after_event",
    "after_heartbeat",
    "before_publish",
    "after_publish",
    "before_finish",
    "after_finish",
)
CHILD_POINTS = (
    "after_validate",
    "after_screen",
    "after_guard",
    "after_checkpoint",
    "after_train",
    "after_gate",
)
# Killing the API at one of these must not lose what it has acknowledged.
API_POINTS: tuple[str, ...] = ()
