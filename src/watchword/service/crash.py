"""The service's crash points: where a test may end one of its processes (``files.crash``)."""

from __future__ import annotations

from watchword.files.crash import ASKED_BY, crash_point

__all__ = ["API_POINTS", "ASKED_BY", "CHILD_POINTS", "STORE_POINTS", "WORKER_POINTS", "crash_point"]

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
# Of a worker whose releases are in an object store: between two files of one, of which the manifest is the last.
STORE_POINTS = ("while_publishing",)
CHILD_POINTS = (
    "after_validate",
    "after_screen",
    "after_guard",
    "after_checkpoint",
    "after_train",
    "after_gate",
)
# Killing the API at one of these must not lose what it has acknowledged. An audit entry stands in an open transaction.
API_POINTS = (
    "after_file_stored",
    "after_file_row",
    "after_file_checked",
    "after_file_deleted",
    "after_part_stored",
    "after_part_row",
    "after_parts_joined",
    "after_upload_completed",
    "after_audit",
    "before_job_commit",
    "after_job_commit",
    "after_job_asked",
    "after_model_deleted",
)
