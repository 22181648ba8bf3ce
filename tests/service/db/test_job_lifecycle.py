"""Whatever tenants, workers, crashes and clocks do, in any order: no job is lost, and none comes to two outcomes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select

from support.service import KINDS, Clock, Databases, a_file, caller, opened, success
from watchword.errors import ConflictError, LeaseLostError
from watchword.service.db import Database
from watchword.service.db.schema import jobs, outbox, tenants
from watchword.service.jobs.machine import ASKED, WAITING, JobAction, next_state
from watchword.service.settings import TenantLimits
from watchword.service.types.jobs import Claim, Failed, Idempotency, Job, JobError, JobState, NewJob, Outcome, Stopped

LEASE = 60.0
# Each statement to a server costs more than one to a file.
EXAMPLES = {"sqlite": 20, "postgresql": 6}
_names = itertools.count()
ENDS = ("The job has successfully completed", "The job has failed", "Fine-tuning job cancelled")


class JobLifecycle(RuleBasedStateMachine):
    """``told`` is what tenants were told last of each job; ``outcomes`` the first end that anybody saw."""

    database: Database
    clock: Clock

    claims, made = Bundle("claims"), Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        # Tenants of its own: examples share the database.
        number = next(_names)
        self.tenants = [f"t{number}-{index}" for index in range(2)]
        self.files = {tenant: a_file(self.database, tenant).id for tenant in self.tenants}
        for tenant in self.tenants:
            self.database.create_webhook(caller(tenant), "https://example.org", [], b"sealed")
        self.jobs: dict[str, Job] = {}
        self.outcomes: dict[str, JobState] = {}
        self.keys = 0

    @rule(target=made, which=st.integers(0, 1))
    def create(self, which: int) -> str:
        tenant, key = self.tenants[which], f"{id(self)}-{self.keys}"
        self.keys += 1
        asked = NewJob("smollm2-135m", self.files[tenant]), Idempotency("0" * 64, key)
        job = self.database.create_job(caller(tenant), *asked)
        # The answer was lost, and the client asks again.
        assert self.database.create_job(caller(tenant), *asked).id == job.id
        self.jobs[job.id] = job
        return job.id

    @rule(job_id=made, action=st.sampled_from(ASKED))
    def ask(self, job_id: str, action: JobAction) -> None:
        job = self.jobs[job_id]
        before = self.database.job(job.tenant, job_id)
        try:
            follows = next_state(before.state, action)
        except ConflictError:
            with pytest.raises(ConflictError):
                self.database.ask(caller(job.tenant), job_id, action)
            return
        assert self.database.ask(caller(job.tenant), job_id, action).state is follows

    @rule(target=claims, worker=st.sampled_from(["w1", "w2"]))
    def claim(self, worker: str) -> Claim | None:
        claim = self.database.claim(worker, LEASE)
        if claim is not None:
            assert claim.job.state in WAITING
        return claim

    @rule(claim=claims)
    def begin(self, claim: Claim | None) -> None:
        with lost():
            if claim is None:
                return
            job = self.database.heartbeat(claim)
            for action in (JobAction.VALIDATED, JobAction.STARTED):
                if next_or_none(job.state, action):
                    job = self.database.advance(claim, action)

    @rule(claim=claims)
    def heartbeat(self, claim: Claim | None) -> None:
        with lost():
            if claim is not None:
                assert self.database.heartbeat(claim).worker == claim.worker

    @rule(claim=consumes(claims))
    def release(self, claim: Claim | None) -> None:
        with lost():
            if claim is not None:
                assert self.database.release(claim).worker is None

    # The claim stays in its bundle: a worker that was lost may come back, and say the same again.
    @rule(claim=claims, how=st.sampled_from(["succeeded", "failed", "stopped"]))
    def finish(self, claim: Claim | None, how: str) -> None:
        if claim is None:
            return
        outcome: dict[str, Outcome] = {
            "succeeded": success(claim.job),
            "failed": Failed(JobError("training_failed", "It did not work out.")),
            "stopped": Stopped(),
        }
        with lost(), contextlib.suppress(ConflictError):
            before = self.database.heartbeat(claim)
            after = self.database.finish(claim, outcome[how])
            assert (before.state is JobState.CANCELLING) <= (after.state is JobState.CANCELLED)

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE + 1, 86_400.0, -30.0, -86_400.0]))
    def time_passes(self, seconds: float) -> None:
        """Forward past leases, and back, as clocks that are put right do."""
        self.clock.passes(seconds)

    @invariant()
    def no_job_is_lost_and_each_outcome_is_told_once(self) -> None:
        for job_id, made in self.jobs.items():
            job = self.database.job(made.tenant, job_id)
            if job_id in self.outcomes:
                assert job.state is self.outcomes[job_id]
            elif job.state.terminal:
                self.outcomes[job_id] = job.state
            events = self.database.job_events(made.tenant, job_id, limit=1000).items
            ends = [event.message for event in events if event.message.startswith(ENDS)]
            assert len(ends) == int(job_id in self.outcomes)
            named = [model for model in self.database.models(made.tenant) if model.job_id == job_id]
            assert len(named) == int(self.outcomes.get(job_id) is JobState.SUCCEEDED)

    @invariant()
    def the_counts_are_those_of_the_jobs(self) -> None:
        with self.database._reading() as connection:
            for tenant in self.tenants:
                row = connection.execute(select(tenants).where(tenants.c.id == tenant)).one()
                mine = jobs.c.tenant == tenant
                waiting = select(func.count()).where(mine, jobs.c.state.in_(WAITING), jobs.c.worker.is_(None))
                held = select(func.count()).where(mine, jobs.c.worker.is_not(None))
                assert row.waiting == connection.execute(waiting).scalar_one()
                assert row.active == connection.execute(held).scalar_one()
                assert row.ready == (row.waiting > 0 and row.active < 3)

    def teardown(self) -> None:
        """Given workers that do not crash, every job comes to its end; then all that was to be told stands in the outbox."""
        if not hasattr(self, "jobs"):
            return
        for job in self.jobs.values():
            if self.database.job(job.tenant, job.id).state is JobState.PAUSED:
                self.database.ask(caller(job.tenant), job.id, JobAction.RESUME)
        # Whoever still holds one does not come back; a clock that was ahead is right again at last.
        self.clock.passes(10 * 86_400.0)
        while (claim := self.database.claim("steady", LEASE)) is not None:
            self.begin(claim)
            self.database.finish(claim, success(claim.job))
        for job in self.jobs.values():
            state = self.database.job(job.tenant, job.id).state
            if state is JobState.PAUSED:
                state = self.database.ask(caller(job.tenant), job.id, JobAction.CANCEL).state
            assert state.terminal
        with self.database._reading() as connection:
            told = select(func.count()).where(outbox.c.tenant.in_(self.tenants))
            assert connection.execute(told).scalar_one() == len(self.jobs)
        self.database.audit_verify()


@contextlib.contextmanager
def lost() -> Iterator[None]:
    """A worker whose job went into other hands notices, and has written nothing."""
    with contextlib.suppress(LeaseLostError):
        yield


def next_or_none(state: JobState, action: JobAction) -> JobState | None:
    try:
        return next_state(state, action)
    except ConflictError:
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_no_job_is_lost_and_none_has_two_outcomes(kind: str, databases: Databases) -> None:
    clock = Clock()

    def limits(_: str) -> TenantLimits:
        return TenantLimits(jobs_at_once=3, jobs_waiting=1000)

    with opened(databases.url(kind), now=clock, limits=limits, most_crashes=1000) as database:
        machine: Any = type("JobLifecycle", (JobLifecycle,), {"database": database, "clock": clock})
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES[kind], stateful_step_count=25, deadline=None, suppress_health_check=checks
            ),
        )
