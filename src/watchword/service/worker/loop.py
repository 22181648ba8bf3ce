"""A worker: takes the jobs whose turn it is, as many at once as the settings say, until it is told to stop.

On SIGTERM it takes no more jobs. A training is given the time to write a checkpoint; every job goes back into the queue.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from watchword.errors import DatabaseError, NotFoundError, StoreError
from watchword.files.folders import discard
from watchword.secret.ring import RING
from watchword.service.crash import crash_point
from watchword.service.db import Database, open_database
from watchword.service.settings import ServiceSettings
from watchword.service.storage import Blobs
from watchword.service.types.jobs import Claim
from watchword.service.types.tenants import EVERY_TENANT
from watchword.service.worker.attending import Attending
from watchword.service.worker.child import work
from watchword.service.worker.known import KnownReleases, reporting
from watchword.service.worker.outages import StoreOutages

log = logging.getLogger("watchword.service")
# Looks for folders of jobs that have ended elsewhere, once in so many seconds.
_SWEEP_SECONDS = 600.0
KEY_VARIABLE = "WATCHWORD_KEY"


class Worker:
    """Runs jobs for one database. ``target`` is what a job's process runs; tests have one that needs no model."""

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        blobs: Blobs,
        key: bytes,
        *,
        name: str | None = None,
        target: Callable[..., None] = work,
    ) -> None:
        self.name = name or f"{platform.node() or 'here'}-{os.getpid()}-{secrets.token_hex(3)}"
        self._settings, self._database, self._blobs, self._key, self._target = settings, database, blobs, key, target
        self._known = KnownReleases(settings.release_place, key, reporting(database, self.name))
        self._outages = StoreOutages(database, self.name)
        self._running: list[threading.Thread] = []

    def run(self, stop: threading.Event) -> None:
        """Works until ``stop`` is set, and gives back what is not finished."""
        self._sweep()
        since = 0.0
        while not stop.is_set():
            self._running = [thread for thread in self._running if thread.is_alive()]
            free = len(self._running) < self._settings.worker.at_once
            if free and self._outages.over and self._take(stop):
                continue
            pause = self._settings.worker.poll_seconds
            stop.wait(pause)
            since += pause
            if since > _SWEEP_SECONDS:
                self._sweep()
                since = 0.0
        for thread in self._running:
            thread.join()

    def _take(self, stop: threading.Event) -> bool:
        """Begins the next job; False where there is none, or where the database cannot be reached now."""
        try:
            claim = self._database.claim(self.name, self._settings.worker.lease_seconds)
        except DatabaseError as error:
            log.warning({"event": "no database", "why": error.problem})
            return False
        if claim is None:
            return False
        crash_point("after_claim")
        thread = threading.Thread(target=self._attend, args=(claim, stop), name=f"job-{claim.job.id}", daemon=True)
        self._running.append(thread)
        thread.start()
        return True

    def _attend(self, claim: Claim, stop: threading.Event) -> None:
        log.info({"event": "job taken", "job": claim.job.id, "fence": claim.fence})
        parts = self._settings, self._database, self._blobs, self._key
        attending = Attending(*parts, claim, self._target, stop.is_set, self._known, self._outages)
        try:
            attending.run()
        except StoreError as error:
            log.warning({"event": "job given back", "job": claim.job.id, "why": error.problem})
        except Exception:  # boundary: the job is left to the next worker, and this one goes on
            log.exception({"event": "job left", "job": claim.job.id})
        log.info({"event": "job let go", "job": claim.job.id})

    def _sweep(self) -> None:
        """Removes the folders of jobs that have ended while no worker held them here."""
        for folder in self._settings.work.iterdir() if self._settings.work.is_dir() else ():
            if folder.is_dir() and self._has_ended(folder):
                discard(folder, ".done-")

    def _has_ended(self, folder: Path) -> bool:
        if folder.name.startswith("."):
            return True
        try:
            return self._database.job(EVERY_TENANT, folder.name).state.terminal
        except NotFoundError:
            return True
        except DatabaseError:
            return False


def run(settings: ServiceSettings) -> None:
    """A worker of its own process: until SIGTERM or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    key = settings.key()
    with _out_of_the_environment(), contextlib.closing(open_database(settings, key)) as database:
        Worker(settings, database, Blobs(settings.storage_url), key).run(stop)


@contextlib.contextmanager
def _out_of_the_environment() -> Iterator[None]:
    """While inside, the environment holds no key: the processes of jobs would inherit it, and it shows in lists of processes."""
    held = {name: value for name in (KEY_VARIABLE, RING) if (value := os.environ.pop(name, None)) is not None}
    try:
        yield
    finally:
        os.environ.update(held)
