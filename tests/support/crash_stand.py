"""Workers that are killed at named points, each a fork at once, and what is left of their jobs."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.processes import forked
from support.service_jobs import KEY, TENANT, Service, opened
from watchword.errors import WatchwordError
from watchword.files.remote import RemoteFolder
from watchword.finetune.launch._process import Child
from watchword.service.api.chat_models import OwnedRelease
from watchword.service.crash import ASKED_BY
from watchword.service.settings import PlaceSettings
from watchword.service.types.jobs import Job, JobState
from watchword.service.types.models import TunedModel
from watchword.service.types.tenants import EVERY_TENANT

SEEDS = (1, 2, 3)
# Reached more than once in a job, so that each seed kills at another time.
OFTEN = {"after_event": (2, 7, 12), "after_checkpoint": (1, 2, 4), "after_heartbeat": (1, 2, 3)}
LEASE = 0.6


def in_a_fork(target: Callable[..., None]) -> Child:
    """A job's process at once: a new interpreter would take most of the time of these tests."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def begin() -> None:
        # Else it would hold its parent's end itself, and never see that the parent is gone.
        ours.close()
        target(theirs)

    process: Any = context.Process(target=begin, daemon=True)
    process.start()
    theirs.close()
    return Child(process, ours)


@dataclass
class Stand:
    """A service on which workers are killed. Their jobs wait for the end of the ``lease`` of the one before.

    Where no worker is killed, give one that no slow machine lets run out: a worker that has lost its job begins again.
    """

    folder: Path
    lease: float = LEASE
    place: PlaceSettings | None = None
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.service = self.opened()

    def opened(self) -> Service:
        return opened(self.folder, self.place, lease_seconds=self.lease, poll_seconds=0.02)

    def work(self) -> None:
        """What a worker's process does, until every job has ended."""
        own, stop = self.opened(), threading.Event()
        Child.spawned = classmethod(lambda cls, target: in_a_fork(target))  # type: ignore[method-assign, assignment]
        threading.Thread(target=self._stop_at_the_end, args=(own, stop), daemon=True).start()
        own.worker().run(stop)

    def worker_ends(self) -> int:
        with forked(self.work) as ended:
            return ended()

    @staticmethod
    def _stop_at_the_end(own: Service, stop: threading.Event) -> None:
        while not all(job.state.terminal for job in own.database.jobs(EVERY_TENANT).items):
            time.sleep(0.02)
        # After the worker's last word on the job, which comes behind the outcome.
        time.sleep(0.1)
        stop.set()

    @contextlib.contextmanager
    def killing(self, point: str, times: int) -> Iterator[None]:
        """While inside, whoever comes to ``point`` for the ``times``-th time is killed."""
        folder = self.folder / "reached"
        folder.mkdir(exist_ok=True)
        os.environ[ASKED_BY] = f"{point}:{times}:{folder}"
        try:
            yield
        finally:
            del os.environ[ASKED_BY]


def times_of(point: str, seed: int) -> int:
    """How often a point is reached before the kill."""
    return OFTEN.get(point, (1, 1, 1))[seed - 1]


def faults(service: Service, job: Job) -> list[str]:
    """What there is not exactly once of all that a job leaves. None where the job has one outcome, and it is success."""
    return [name for name, holds in _checks(service, service.now(job)).items() if not holds()]


def _checks(service: Service, job: Job) -> dict[str, Callable[[], bool]]:
    messages = [event.message for event in service.events(job)]
    models = service.database.models(EVERY_TENANT, all_states=True)
    results = [file for file in service.database.files(TENANT.tenant).items if file.purpose == "fine-tune-results"]
    ended = [entry.action for entry in service.database.audit_entries()]
    return {
        "success": lambda: job.state is JobState.SUCCEEDED,
        "one end": lambda: messages.count("The job has successfully completed") == 1,
        "one model": lambda: [model.name for model in models] == [job.fine_tuned_model],
        "a release that opens": lambda: bool(models) and _opens(service, models[0]),
        "no other release": lambda: bool(models) and _releases(service) == {models[0].location},
        "no folder": lambda: not (service.settings.work / job.id).exists(),
        "one result file": lambda: [file.id for file in results] == list(job.result_files) and len(results) == 1,
        "a whole curve": lambda: bool(results) and b"".join(service.blobs.chunks(results[0].blob)).count(b"\n") == 5,
        "one audit entry": lambda: ended.count("job.succeeded") == 1,
        "a whole audit log": lambda: service.database.audit_verify() is not None,
    }


def _opens(service: Service, model: TunedModel) -> bool:
    try:
        release = asyncio.run(OwnedRelease(model, service.settings.fetched).open(KEY))
        return release.manifest.weights_digest == model.weights_digest
    except WatchwordError:
        return False


def _releases(service: Service) -> set[str]:
    """Whatever stands beside releases, in a folder or a store."""
    place = service.settings.release_place
    if place.local is not None:
        return {str(path) for path in place.local.glob("*/*")}
    return {place.below(name.rpartition("/")[0]).whole for name in RemoteFolder(place.whole).below()}
