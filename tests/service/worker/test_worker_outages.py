"""A store that is away fails no job, however long: jobs wait, operators hear of it, and it goes on when the store is back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.crash_stand import in_a_fork
from support.gateway_parts import wait_until
from support.service_jobs import TENANT, Service, behave, line, opened, working
from support.store_outages import Outage
from support.stores import memory_store
from watchword.finetune.launch._process import Child
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import PlaceSettings
from watchword.service.types.jobs import Job, JobState
from watchword.service.types.tenants import EVERY_TENANT
from watchword.service.worker import attending, outages

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for, and jobs' processes that are there at once."""
    monkeypatch.setattr(outages, "PAUSES", (0.05, 0.1))
    monkeypatch.setattr(Child, "spawned", classmethod(lambda _, target: in_a_fork(target)))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """One whose jobs fail at the first crash."""
    with memory_store() as store:
        place = PlaceSettings(storage=f"{store}/blobs", releases=f"{store}/releases")
        found = opened(tmp_path, place, most_crashes=1, lease_seconds=30.0)
        with contextlib.closing(found.database):
            yield found


def waits(service: Service, job: Job) -> bool:
    """Nobody holds the job, and it has cost nothing."""
    now = service.now(job)
    return now.worker is None and not now.state.terminal and now.crashes == 0


def given_back(service: Service, job: Job) -> list[str]:
    return [event.message for event in service.events(job, private=True) if "gave it back" in event.message]


def trainings(service: Service, job: Job) -> int:
    return service.stages(job, private=True).count(("train", "started"))


def succeeds(service: Service, job: Job) -> None:
    wait_until(lambda: service.state(job).terminal, 240)
    assert service.now(job).error is None
    assert service.state(job) is JobState.SUCCEEDED
    assert trainings(service, job) == 1


@pytest.mark.parametrize("away", ["/blobs", "/releases"])
def test_a_job_whose_file_or_secrets_cannot_be_read_waits_for_the_store(
    service: Service, outage: Outage, away: str
) -> None:
    job = service.job()
    outage.away = {away}
    with working(service):
        wait_until(lambda: len(given_back(service, job)) >= 3)
        assert service.now(job).crashes == 0
        assert trainings(service, job) == 0
        outage.away = set()
        succeeds(service, job)
    assert "nobody answers" in given_back(service, job)[0]


@pytest.mark.parametrize("away", ["/blobs", "/releases"])
def test_a_finished_training_is_kept_until_it_can_be_published(
    service: Service, outage: Outage, away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, steps=4, seconds=0.1)
    job = service.job()
    with working(service):
        wait_until(lambda: trainings(service, job) == 1)
        outage.away = {away}
        wait_until(lambda: len(outage.tries) >= 3)
        # The worker holds it, and nothing is trained again.
        assert (service.state(job), given_back(service, job)) == (JobState.RUNNING, [])
        outage.away = set()
        succeeds(service, job)
    assert given_back(service, job) == []


def test_one_that_cannot_be_published_for_long_is_given_back_and_published_later(
    service: Service, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attending, "HOLD_SECONDS", 0.2)
    behave(monkeypatch, steps=4, seconds=0.1)
    job = service.job()
    with working(service):
        wait_until(lambda: trainings(service, job) == 1)
        outage.away = {"/releases"}
        wait_until(lambda: bool(given_back(service, job)))
        outage.away = set()
        succeeds(service, job)


def test_other_jobs_and_heartbeats_go_on_meanwhile(
    service: Service, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, steps=1000, seconds=0.05)
    training = service.job()
    with working(service, name="one"):
        wait_until(lambda: trainings(service, training) == 1)
        outage.away = {"/blobs", "/releases"}
        waiting = service.job(training_file=service.now(training).training_file)
        with working(service, name="two"):
            wait_until(lambda: bool(given_back(service, waiting)))
            seen = len(service.events(training))
            wait_until(lambda: len(service.events(training)) > seen)
        assert service.now(training).worker == "one"
        service.database.ask(TENANT, training.id, JobAction.CANCEL)
        wait_until(lambda: service.state(training).terminal)


@pytest.mark.parametrize(
    ("action", "state"), [(JobAction.CANCEL, JobState.CANCELLED), (JobAction.PAUSE, JobState.PAUSED)]
)
def test_a_job_that_waits_to_be_published_can_be_stopped(
    service: Service, outage: Outage, action: JobAction, state: JobState, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, steps=4, seconds=0.1)
    job = service.job()
    with working(service):
        wait_until(lambda: trainings(service, job) == 1)
        outage.away = {"/releases"}
        wait_until(lambda: len(outage.tries) >= 2)
        service.database.ask(TENANT, job.id, action)
        wait_until(lambda: service.state(job) is state, 10)
        assert service.database.models(EVERY_TENANT, all_states=True) == []
        assert (service.settings.work / job.id).exists() == (state is JobState.PAUSED)
        outage.away = set()
        if state is JobState.PAUSED:
            service.database.ask(TENANT, job.id, JobAction.RESUME)
            succeeds(service, job)


def test_a_worker_that_ends_meanwhile_gives_the_job_back(
    service: Service, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(monkeypatch, steps=4, seconds=0.1)
    job = service.job()
    with working(service) as stop:
        wait_until(lambda: trainings(service, job) == 1)
        outage.away = {"/releases"}
        wait_until(lambda: len(outage.tries) >= 2)
        stop.set()
    assert waits(service, job)
    outage.away = set()
    with working(service):
        succeeds(service, job)


def test_a_store_for_checkpoints_that_is_away_fails_no_job_either(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a launcher's, such as Ray's: the job's process says so, and it goes on from its folder."""
    behave(monkeypatch, away=3)
    job = service.job()
    with working(service):
        wait_until(lambda: service.state(job).terminal, 240)
    assert (service.state(job), service.now(job).crashes) == (JobState.SUCCEEDED, 0)
    assert len(given_back(service, job)) == 3
    assert not [event for event in service.events(job) if "cannot be used" in event.message]


def test_a_key_service_that_is_away_fails_no_job_either(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(monkeypatch, keyless=2)
    job = service.job()
    with working(service):
        wait_until(lambda: service.state(job).terminal, 240)
    assert (service.state(job), service.now(job).crashes) == (JobState.SUCCEEDED, 0)
    assert len(given_back(service, job)) == 2


def test_operators_hear_of_it_once_and_of_its_end(service: Service, outage: Outage) -> None:
    job = service.job()
    outage.away = {"/blobs"}
    with working(service, name="one"):
        wait_until(lambda: len(given_back(service, job)) >= 3)
        assert service.database.figures().workers_without_store == 1
        outage.away = set()
        succeeds(service, job)
        wait_until(lambda: service.database.figures().workers_without_store == 0)
    told = [(entry.actor, entry.action) for entry in service.database.audit_entries(limit=1000)]
    assert [entry for entry in told if entry[1].startswith("store.")] == [("one", "store.away"), ("one", "store.back")]
    back, away = service.database.reports(kind="store").items
    assert (away.subject, away.data["away"], away.data["job"]) == ("one", True, job.id)
    assert "nobody answers" in away.data["why"]
    assert (back.subject, back.data["away"]) == ("one", False)


def test_pauses_grow_and_begin_anew_behind_the_end(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = outages.StoreOutage(service.database, "one", "read")
    assert found.over
    pauses = [found.failed("away", "job") for _ in range(12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (outages.PAUSES[0], outages.PAUSES[-1])
    assert not found.over
    found.worked()
    assert found.over
    assert found.failed("away", "job") == outages.PAUSES[0]


def spoiled(service: Service, job: Job, change: Callable[[str], None]) -> Job:
    change(service.database.file(TENANT.tenant, job.training_file).blob)
    with working(service):
        wait_until(lambda: service.state(job).terminal, 240)
    return service.now(job)


def test_a_file_that_is_missing_or_damaged_still_fails_its_job_at_once(service: Service) -> None:
    gone = spoiled(service, service.job(), service.blobs.delete)

    def damage(name: str) -> None:
        place = service.blobs._at(name)
        with place.file_system() as (system, path):
            system.pipe_file(path, line(1))

    damaged = spoiled(service, service.job(), damage)
    for job in (gone, damaged):
        assert (job.state, job.crashes, given_back(service, job)) == (JobState.FAILED, 0, [])
    assert [event for event in service.events(damaged, private=True) if "was changed" in event.message]


def test_a_folder_that_is_not_mounted_is_away_too(tmp_path: Path) -> None:
    found = opened(tmp_path, most_crashes=1, lease_seconds=30.0)
    with contextlib.closing(found.database):
        job, folder = found.job(), Path(found.settings.storage_url)
        folder.rename(tmp_path / "elsewhere")
        with working(found):
            wait_until(lambda: bool(given_back(found, job)))
            (tmp_path / "elsewhere").rename(folder)
            succeeds(found, job)
