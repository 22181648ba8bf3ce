"""Keeps a worker's claim on a job alive, in a thread of its own, and hears there what the tenant has asked meanwhile."""

from __future__ import annotations

import threading
import time

from watchword.errors import DatabaseError, LeaseLostError
from watchword.service.crash import crash_point
from watchword.service.db import Database
from watchword.service.types.jobs import Claim, JobState

# Beats in each lease, at least; and seconds between two at most, so that a word from the tenant is heard soon.
_EACH_LEASE, _MOST_SECONDS = 4, 1.0


class Heart:
    """Beats from ``start`` to ``stop``. ``lost``: others may hold the job by now, and nothing may be written any more."""

    def __init__(self, database: Database, claim: Claim) -> None:
        self._database, self._claim = database, claim
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._kept_until = time.monotonic() + claim.lease_seconds
        self._state = claim.job.state
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether the claim is gone: the database says so, or could not be asked for a whole lease."""
        return self._lost or time.monotonic() > self._kept_until

    @property
    def asked_to_stop(self) -> bool:
        """Whether the tenant has asked for a pause, or for the end."""
        return self._state in (JobState.PAUSING, JobState.CANCELLING)

    @property
    def cancelled(self) -> bool:
        """Whether nothing of the job is wanted any more."""
        return self._state is JobState.CANCELLING

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the beat and waits for the last."""
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        pause = min(_MOST_SECONDS, self._claim.lease_seconds / _EACH_LEASE)
        while not self._ended.wait(pause) and not self.lost:
            # From before the call: the database counts from when it answers, which is later.
            now = time.monotonic()
            try:
                self._state = self._database.heartbeat(self._claim).state
            except LeaseLostError:
                self._lost = True
                return
            except DatabaseError:
                continue
            self._kept_until = now + self._claim.lease_seconds
            crash_point("after_heartbeat")
