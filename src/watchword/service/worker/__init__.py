"""The worker: takes jobs from the database, runs each in a process of its own, and serves what passes the release gate."""

from __future__ import annotations

from watchword.service.worker.loop import Worker, run

__all__ = ["Worker", "run"]
