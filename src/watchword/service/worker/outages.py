"""Stores that a worker cannot use: how long it leaves them alone, and what operators hear of it."""

from __future__ import annotations

import threading
import time

from watchword.errors import DatabaseError
from watchword.service.db import Database
from watchword.service.logs import log
from watchword.service.types.operator import STORE_REPORT

# Seconds that a worker takes no job after it could not use a store, the longer the more often.
PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
# Seconds until operators are told once more of what lasts; a figure counts the workers that have told within an hour.
_REMIND_SECONDS = 1800.0


class StoreOutage:
    """Whether a worker can ``use`` its stores, to read or to write, as far as its last attempt tells. Threads may share it."""

    def __init__(self, database: Database, worker: str, use: str) -> None:
        self._database, self._worker, self._use = database, worker, use
        self._lock = threading.Lock()
        self._began: float | None = None
        self._failures, self._until, self._told = 0, 0.0, 0.0

    @property
    def over(self) -> bool:
        """Whether it is time to try again, or nothing has failed."""
        return time.monotonic() >= self._until

    def failed(self, why: str, job: str) -> float:
        """Notes that a job could not use a store, and tells operators. How many seconds to leave it alone."""
        with self._lock:
            now, first = time.monotonic(), self._began is None
            due = first or now >= self._told + _REMIND_SECONDS
            pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
            self._failures, self._until = self._failures + 1, now + pause
            self._began = now if self._began is None else self._began
            self._told = now if due else self._told
        log.warning({"event": "store is away", "use": self._use, "job": job, "why": why, "again_in_seconds": pause})
        if due:
            self._tell({"use": self._use, "away": True, "job": job, "why": why}, "store.away" if first else None)
        return pause

    def worked(self) -> None:
        """Notes that a job could use them. Where nothing had failed, that is no news."""
        with self._lock:
            began, self._began = self._began, None
            self._failures, self._until = 0, 0.0
        if began is not None:
            seconds = round(time.monotonic() - began, 1)
            log.info({"event": "store is back", "use": self._use, "seconds": seconds})
            self._tell({"use": self._use, "away": False, "seconds": seconds}, "store.back")

    def _tell(self, facts: dict[str, object], action: str | None) -> None:
        try:
            if action is not None:
                self._database.audit_append(self._worker, action, facts=facts)
            self._database.add_report(STORE_REPORT, "", self._worker, facts)
        except DatabaseError as error:
            log.warning({"event": "no database", "why": error.problem})


class StoreOutages:
    """Both uses of one worker: a store may be full, and still be read."""

    def __init__(self, database: Database, worker: str) -> None:
        self.reading, self.writing = (StoreOutage(database, worker, use) for use in ("read", "write"))

    @property
    def over(self) -> bool:
        """Whether jobs may be taken."""
        return self.reading.over and self.writing.over
