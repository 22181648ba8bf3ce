"""Workers and their jobs: one holder at a time, outcomes whole or not at all, and turns between tenants."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter

import pytest

from support.service import PLENTY, Clock, Databases, a_file, a_job, caller, new_file, opened, success
from watchword.errors import ConflictError, LeaseLostError, NotFoundError
from watchword.service.db import Database
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import TenantLimits
from watchword.service.types.jobs import (
    Claim,
    Facts,
    Failed,
    Hyperparameters,
    Job,
    JobError,
    JobState,
    NewCheckpoint,
    NewEvent,
    Stage,
    Stopped,
)
from watchword.service.types.models import ModelState, NewModel
from watchword.service.types.tenants import EVERY_TENANT

LEASE = 60.0


def claimed(database: Database, worker: str = "w1") -> Claim:
    claim = database.claim(worker, LEASE)
    assert claim is not None
    return claim


def running(database: Database, worker: str = "w1") -> Claim:
    claim = claimed(database, worker)
    if claim.job.state is JobState.VALIDATING_FILES:
        database.advance(claim, JobAction.VALIDATED)
    database.advance(claim, JobAction.STARTED)
    return claim


def test_a_job_goes_to_one_worker_and_to_its_outcome(database: Database) -> None:
    job = a_job(database)
    assert job.state is JobState.VALIDATING_FILES
    claim = claimed(database)
    assert (claim.job.id, claim.job.worker) == (job.id, "w1")
    assert database.claim("w2", LEASE) is None
    assert database.advance(claim, JobAction.VALIDATED).state is JobState.QUEUED
    assert database.claim("w2", LEASE) is None
    begun = database.advance(claim, JobAction.STARTED, NewEvent("begun"), facts=Facts(stage=Stage.TRAIN))
    assert (begun.state, begun.stage, begun.started_at) == (JobState.RUNNING, Stage.TRAIN, 1_800_000_000.0)
    ended = database.finish(claim, success(job))
    assert (ended.state, ended.trained_tokens, ended.worker) == (JobState.SUCCEEDED, 100, None)
    assert [model.name for model in database.models("acme")] == [ended.fine_tuned_model]
    assert database.claim("w2", LEASE) is None


def test_a_result_file_and_the_model_come_with_the_outcome(database: Database) -> None:
    job = a_job(database)
    outcome = success(job)
    result = new_file(33, purpose="fine-tune-results", filename="metrics.csv")
    ended = database.finish(running(database), type(outcome)(outcome.model, 5, result))
    (file_id,) = ended.result_files
    assert database.file("acme", file_id).purpose == "fine-tune-results"
    assert database.use("acme").files == 2
    assert database.use("acme").bytes == 10 + 33


def test_a_worker_that_was_lost_can_write_nothing(database: Database, clock: Clock) -> None:
    job = a_job(database)
    stale = running(database)
    clock.passes(LEASE + 1)
    claim = claimed(database, "w2")
    assert claim.fence > stale.fence
    writes = [
        lambda: database.heartbeat(stale),
        lambda: database.record(stale, NewEvent("late")),
        lambda: database.advance(stale, facts=Facts(stage=Stage.GATE)),
        lambda: database.release(stale),
        lambda: database.finish(stale, success(job)),
    ]
    for write in writes:
        with pytest.raises(LeaseLostError, match="no longer in the hands of the worker w1"):
            write()
    assert database.models("acme") == []
    assert all(event.message != "late" for event in database.job_events("acme", job.id).items)


def test_a_worker_of_the_same_name_that_was_begun_again_has_another_fence(database: Database, clock: Clock) -> None:
    a_job(database)
    stale = running(database)
    clock.passes(LEASE + 1)
    claimed(database)
    with pytest.raises(LeaseLostError):
        database.heartbeat(stale)


def test_a_heartbeat_keeps_the_lease_and_tells_what_was_asked(database: Database, clock: Clock) -> None:
    job = a_job(database)
    claim = running(database)
    for _ in range(3):
        clock.passes(LEASE - 1)
        assert database.heartbeat(claim).state is JobState.RUNNING
    database.ask(caller(), job.id, JobAction.PAUSE)
    assert database.heartbeat(claim).state is JobState.PAUSING
    assert database.finish(claim, Stopped()).state is JobState.PAUSED
    assert database.claim("w2", LEASE) is None
    assert database.ask(caller(), job.id, JobAction.RESUME).state is JobState.QUEUED
    assert claimed(database, "w2").job.id == job.id


def test_a_job_that_is_being_cancelled_has_no_model_whatever_its_worker_says(database: Database) -> None:
    job = a_job(database)
    claim = running(database)
    assert database.ask(caller(), job.id, JobAction.CANCEL).state is JobState.CANCELLING
    ended = database.finish(claim, success(job))
    assert (ended.state, ended.fine_tuned_model) == (JobState.CANCELLED, None)
    assert database.models(EVERY_TENANT, all_states=True) == []


@pytest.mark.parametrize(
    ("action", "state"), [(JobAction.PAUSE, JobState.PAUSED), (JobAction.CANCEL, JobState.CANCELLED)]
)
def test_what_was_asked_is_done_though_the_worker_is_lost(
    action: JobAction, state: JobState, database: Database, clock: Clock
) -> None:
    job = a_job(database)
    running(database)
    database.ask(caller(), job.id, action)
    clock.passes(LEASE + 1)
    assert database.give_back_lost() == 1
    assert database.job("acme", job.id).state is state


def test_a_job_that_costs_worker_after_worker_fails(databases: Databases, clock: Clock) -> None:
    with opened(databases.url("sqlite"), now=clock, limits=lambda _: PLENTY, most_crashes=3) as database:
        job = a_job(database)
        for _ in range(3):
            running(database)
            clock.passes(LEASE + 1)
        assert database.claim("w1", LEASE) is None
        ended = database.job("acme", job.id)
        assert ended.state is JobState.FAILED
        assert ended.error is not None
        assert ended.error.code == "internal_error"


def test_a_job_that_gets_on_between_crashes_goes_on(databases: Databases, clock: Clock) -> None:
    with opened(databases.url("sqlite"), now=clock, limits=lambda _: PLENTY, most_crashes=2) as database:
        job = a_job(database)
        for step in range(4):
            claim = running(database)
            database.record(claim, checkpoint=NewCheckpoint(step + 1, {"train_loss": 1.0}))
            clock.passes(LEASE + 1)
        assert database.finish(running(database), success(job)).state is JobState.SUCCEEDED
        assert [found.step for found in database.checkpoints("acme", job.id).items] == [4, 3, 2, 1]


def test_a_released_job_waits_again_and_costs_nobody_a_crash(database: Database) -> None:
    a_job(database)
    released = database.release(running(database))
    assert (released.state, released.crashes, released.worker) == (JobState.QUEUED, 0, None)
    assert claimed(database, "w2").job.id == released.id


def test_a_checkpoint_that_is_written_again_stands_once(database: Database) -> None:
    job = a_job(database)
    claim = running(database)
    for loss in (2.0, 1.0):
        database.record(claim, checkpoint=NewCheckpoint(5, {"train_loss": loss}))
    (found,) = database.checkpoints("acme", job.id).items
    assert found.metrics == {"train_loss": 1.0}


def test_what_the_operator_alone_may_know_is_private(database: Database) -> None:
    job = a_job(database)
    claim = running(database)
    database.record(claim, NewEvent("44 anchors", private=True), NewEvent("step 1", type="metrics", data={"loss": 1.5}))
    shown = database.job_events("acme", job.id).items
    assert [event.message for event in shown][:1] == ["step 1"]
    assert "44 anchors" in [event.message for event in database.job_events(EVERY_TENANT, job.id).items]
    with pytest.raises(NotFoundError):
        database.job_events("rival", job.id)


def test_what_a_worker_takes_for_auto_is_noted(database: Database) -> None:
    job = a_job(database)
    database.advance(claimed(database), facts=Facts(hyperparameters=Hyperparameters(3, 10, 1.0)))
    assert database.job("acme", job.id).hyperparameters == Hyperparameters(3, 10, 1.0)


def test_a_withheld_model_is_the_operators_to_see(database: Database) -> None:
    job = a_job(database)
    model = NewModel("ft:m:acme::x", "smollm2-135m", "releases/x", "ab" * 32)
    ended = database.finish(running(database), Failed(JobError("model_withheld", "It was not released."), model))
    assert ended.state is JobState.FAILED
    assert database.models("acme") == []
    (found,) = database.models(EVERY_TENANT, all_states=True)
    assert (found.state, found.job_id) == (ModelState.WITHHELD, job.id)
    with pytest.raises(NotFoundError):
        database.model("acme", model.name)
    database.set_model_state(model.name, ModelState.READY, actor="key-operator")
    assert database.model("acme", model.name).location == "releases/x"


def test_a_renewed_model_that_was_withheld_takes_its_place_when_it_is_let_through(database: Database) -> None:
    first = database.finish(running_for(database, a_job(database)), success(database.jobs("acme").items[0]))
    name, before = str(first.fine_tuned_model), database.model("acme", str(first.fine_tuned_model))
    job = a_job(database, replaces=name)
    new = NewModel(name, "smollm2-135m", "releases/second", "cd" * 32, version=2)
    database.finish(running(database), Failed(JobError("model_withheld", "It was not released."), new))
    assert database.model("acme", name) == before
    withheld = f"{name}@{job.id}"
    database.set_model_state(name, ModelState.WITHHELD, actor="key-operator")
    with pytest.raises(ConflictError, match="renew its secret again"):
        database.set_model_state(withheld, ModelState.READY, actor="key-operator")
    database.set_model_state(name, ModelState.READY, actor="key-operator")
    found = database.set_model_state(withheld, ModelState.READY, actor="key-operator")
    assert (found.name, found.version, found.location, found.job_id) == (name, 2, "releases/second", job.id)
    assert database.models(EVERY_TENANT, all_states=True) == [found]
    (retired,) = database.retired_releases(older_than=4e9)
    assert retired.location == before.location


def test_a_renewed_secret_takes_the_old_models_place(database: Database) -> None:
    first = database.finish(running_for(database, a_job(database)), success(database.jobs("acme").items[0]))
    name = str(first.fine_tuned_model)
    job = a_job(database, replaces=name)
    claim = running(database)
    assert database.model("acme", name).job_id == first.id
    new = NewModel(name, "smollm2-135m", "releases/second", "cd" * 32, version=2)
    ended = database.finish(claim, type(success(job))(new, 5))
    assert ended.fine_tuned_model == name
    found = database.model("acme", name)
    assert (found.version, found.location, found.job_id) == (2, "releases/second", job.id)
    assert len(database.models("acme")) == 1


def test_a_model_that_was_deleted_meanwhile_does_not_come_back(database: Database) -> None:
    first = database.finish(running_for(database, a_job(database)), success(database.jobs("acme").items[0]))
    name = str(first.fine_tuned_model)
    job = a_job(database, replaces=name)
    claim = running(database)
    database.delete_model(caller(), name)
    new = NewModel(name, "smollm2-135m", "releases/second", "cd" * 32, version=2)
    with pytest.raises(ConflictError, match="was deleted or renewed meanwhile"):
        database.finish(claim, type(success(job))(new, 5))
    assert database.job("acme", job.id).state is JobState.RUNNING
    assert database.models(EVERY_TENANT) == []


def running_for(database: Database, job: Job) -> Claim:
    claim = running(database)
    assert claim.job.id == job.id
    return claim


def test_tenants_take_turns_however_many_jobs_one_of_them_has(database: Database) -> None:
    for _ in range(6):
        a_job(database, "greedy", file_id=None)
    for tenant in ("b", "c"):
        a_job(database, tenant)
        a_job(database, tenant)
    order = [claimed(database).job.tenant for _ in range(10)]
    assert Counter(order[:6]) == {"greedy": 2, "b": 2, "c": 2}
    assert order[6:] == ["greedy"] * 4


def test_whoever_comes_late_has_no_turns_in_store(database: Database) -> None:
    for _ in range(8):
        a_job(database, "early")
    for _ in range(4):
        claimed(database)
    for _ in range(4):
        a_job(database, "late")
    order = [claimed(database).job.tenant for _ in range(8)]
    assert Counter(order[:4]) == {"early": 2, "late": 2}


def test_weights_and_bounds_hold_and_change_at_the_next_start(databases: Databases, clock: Clock) -> None:
    limits = {"big": TenantLimits(jobs_at_once=100, weight=3.0), "small": TenantLimits(jobs_at_once=100)}
    url = databases.url("sqlite")
    with opened(url, now=clock, limits=limits.__getitem__) as database:
        for tenant in limits:
            for _ in range(8):
                a_job(database, tenant)
        assert Counter(claimed(database).job.tenant for _ in range(8)) == {"big": 6, "small": 2}
    bounded = dict.fromkeys(limits, TenantLimits(jobs_at_once=2))
    with opened(url, now=clock, limits=bounded.__getitem__) as database:
        database.apply_limits()
        assert database.claim("w", LEASE) is None


def test_two_workers_that_race_never_get_the_same_job(database_url: str) -> None:
    with opened(database_url, limits=lambda _: PLENTY) as database:
        file_id = {tenant: a_file(database, tenant).id for tenant in ("a", "b", "c")}
        made = {a_job(database, tenant, file_id=file_id[tenant]).id for tenant in ("a", "b", "c") for _ in range(8)}
        got: list[str] = []
        start = threading.Barrier(4)

        def work(name: str) -> None:
            # A process has a database of its own.
            with opened(database_url, limits=lambda _: PLENTY) as own:
                start.wait()
                empty = 0
                # On PostgreSQL a tenant whose row another holds is passed over: then ask again.
                while empty < 20:
                    claim = own.claim(name, LEASE)
                    empty = 0 if claim is not None else empty + 1
                    if claim is not None:
                        got.append(claim.job.id)
                        with contextlib.suppress(LeaseLostError):
                            own.finish(claim, Failed(JobError("x", "y")))

        workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sorted(got) == sorted(made)
        assert database.use("a").active == database.use("a").waiting == 0
        database.audit_verify()
