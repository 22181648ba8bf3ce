"""Workers and their jobs: who holds which, for how long, and what only its holder may write.

A claim carries the job's *fence*, which grows whenever the job changes hands. Every write of a worker compares it, so one
that was thought dead and comes back can change nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from watchword.errors import ConflictError, LeaseLostError
from watchword.service.db.connect import locked, new_id
from watchword.service.db.jobs import JobQueries
from watchword.service.db.retired import succeed
from watchword.service.db.rows import plain, value_of
from watchword.service.db.schema import checkpoints, jobs, models, tenants
from watchword.service.db.webhooks import WebhookQueries
from watchword.service.jobs.fairness import turn_after
from watchword.service.jobs.machine import JobAction, next_state
from watchword.service.types.jobs import (
    Claim,
    Facts,
    Failed,
    Job,
    JobError,
    JobState,
    NewCheckpoint,
    NewEvent,
    Outcome,
    Succeeded,
)
from watchword.service.types.models import ModelState, NewModel

_TOO_MANY_CRASHES = JobError("internal_error", "The job could not be finished on our side. Create it again.")


class LeaseQueries(JobQueries, WebhookQueries):
    """What workers do."""

    def claim(self, worker: str, lease_seconds: float) -> Claim | None:
        """The job whose turn it is, for this worker alone; None where there is nothing to do.

        Tenants take turns (``jobs.fairness``), a tenant's own jobs come in their order. Jobs of lost workers are given
        back first. The state stays: the worker says ``VALIDATED``, then ``STARTED``.
        """
        self.give_back_lost()
        if self._nothing_ready():
            return None
        with self._writing() as connection:
            now = self._now()
            ready = select(tenants).where(tenants.c.ready.is_(True)).order_by(tenants.c.turn, tenants.c.id).limit(1)
            held = connection.execute(locked(ready, skip=True)).one_or_none()
            if held is None:
                return None
            waiting = (
                select(jobs).where(jobs.c.tenant == held.id, jobs.c.waiting.is_(True)).order_by(jobs.c.seq).limit(1)
            )
            row = connection.execute(locked(waiting)).one()
            values = {"worker": worker, "lease_until": now + lease_seconds, "fence": row.fence + 1, "waiting": False}
            connection.execute(update(jobs).where(jobs.c.seq == row.seq).values(**values))
            turn = turn_after(held.turn, held.weight)
            self._count(connection, held, waiting=-1, active=1, turn=turn, served=max(held.served, held.turn))
            job = _row(connection, row.seq)
        return Claim(value_of(job, Job), worker, row.fence + 1, lease_seconds)

    def heartbeat(self, claim: Claim) -> Job:
        """Keeps the claim for another lease. The job tells what was asked meanwhile: ``pausing``, ``cancelling``.

        Raises LeaseLostError.
        """
        with self._writing() as connection:
            row = _held_job(connection, claim)
            # Not the later of both: a clock that was ahead and is right again must not leave a lease for a year.
            until = self._now() + claim.lease_seconds
            connection.execute(update(jobs).where(jobs.c.seq == row.seq).values(lease_until=until))
            return value_of(_row(connection, row.seq), Job)

    def record(self, claim: Claim, *events: NewEvent, checkpoint: NewCheckpoint | None = None) -> None:
        """Notes what has happened, and a checkpoint that is written. Raises LeaseLostError."""
        with self._writing() as connection:
            job = value_of(_held_job(connection, claim), Job)
            for event in events:
                self._tell(connection, job, event)
            if checkpoint is not None:
                self._put_checkpoint(connection, job, checkpoint)

    def advance(
        self,
        claim: Claim,
        action: JobAction | None = None,
        *events: NewEvent,
        facts: Facts = Facts(),  # noqa: B008
    ) -> Job:
        """Moves the job on (``VALIDATED``, ``STARTED``) and notes what was found out, in one transaction.

        Without an action the state stays. Raises LeaseLostError, and ConflictError where the job's state does not allow it.
        """
        with self._writing() as connection:
            held = self._held_tenant(connection, claim.job.tenant)
            row = _held_job(connection, claim)
            state = JobState(row.state)
            if action is not None:
                state = next_state(state, action)
            values = _noted(facts)
            if action is JobAction.STARTED and row.started_at is None:
                values["started_at"] = self._now()
            job = self._move(connection, held, row, state, keep=True, **values)
            for event in events:
                self._tell(connection, job, event)
        return job

    def release(self, claim: Claim, why: str = "") -> Job:
        """Gives the job back: to the queue, or to its end where it was to be stopped. Operators read why. Raises LeaseLostError."""
        with self._writing() as connection:
            held = self._held_tenant(connection, claim.job.tenant)
            return self._give_back(connection, held, _held_job(connection, claim), crashed=False, why=why)

    def finish(self, claim: Claim, outcome: Outcome) -> Job:
        """The job's outcome with all that belongs to it, in one transaction; look at the state of what comes back.

        A job that was being cancelled becomes ``cancelled`` whatever ``outcome`` says, and has no model: the caller then
        removes the release. Raises LeaseLostError.
        """
        with self._writing() as connection:
            held = self._held_tenant(connection, claim.job.tenant)
            row = _held_job(connection, claim)
            state = next_state(JobState(row.state), _action_of(outcome))
            values: dict[str, Any] = {"crashes": 0}
            if isinstance(outcome, Succeeded) and state is JobState.SUCCEEDED:
                values |= self._put_success(connection, row, outcome)
            if isinstance(outcome, Failed) and state is JobState.FAILED:
                values["error"] = plain(outcome.error)
                if outcome.withheld is not None:
                    self._put_model(connection, row, outcome.withheld, ModelState.WITHHELD)
            job = self._move(connection, held, row, state, **values)
            if "result_files" in values and isinstance(outcome, Succeeded) and outcome.result is not None:
                self._recount_file(connection, job.tenant, outcome.result.bytes)
            if job.fine_tuned_model is not None:
                self._tell(connection, job, NewEvent(f"New fine-tuned model created: {job.fine_tuned_model}"))
            self._tell_end(connection, job)
            self._audit_outcome(connection, claim.worker, job)
        return job

    def give_back_lost(self) -> int:
        """Gives back the jobs of workers whose leases have run out. How many."""
        lost = select(jobs.c.id, jobs.c.tenant).where(jobs.c.lease_until < self._now())
        with self._reading() as connection:
            found = connection.execute(lost.order_by(jobs.c.lease_until).limit(100)).all()
        return sum(self._give_back_one(row.tenant, row.id) for row in found)

    def _give_back_one(self, tenant: str, job_id: str) -> int:
        """In a transaction of its own, so that no two tenants are ever held at once."""
        with self._writing() as connection:
            held = self._held_tenant(connection, tenant)
            statement = select(jobs).where(jobs.c.id == job_id, jobs.c.lease_until < self._now())
            row = connection.execute(locked(statement)).one_or_none()
            if row is None:
                return 0
            self._give_back(connection, held, row, crashed=True)
        return 1

    def _give_back(self, connection: Connection, held: Row[Any], row: Row[Any], *, crashed: bool, why: str = "") -> Job:
        crashes = row.crashes + int(crashed)
        state = next_state(JobState(row.state), JobAction.RELEASED)
        values: dict[str, Any] = {"crashes": crashes}
        if crashed and crashes >= self._most_crashes and not state.terminal:
            state = next_state(JobState(row.state), JobAction.FAILED)
            values["error"] = plain(_TOO_MANY_CRASHES)
        job = self._move(connection, held, row, state, **values)
        told = (
            f"the worker {row.worker} was lost ({crashes} in a row)"
            if crashed
            else f"the worker {row.worker} gave it back{why and f': {why}'}"
        )
        self._tell(connection, job, NewEvent(told, level="warn" if crashed or why else "info", private=True))
        self._tell_end(connection, job)
        if job.state.terminal:
            self._audit_outcome(connection, row.worker, job)
        return job

    def _nothing_ready(self) -> bool:
        with self._reading() as connection:
            return connection.execute(select(tenants.c.id).where(tenants.c.ready.is_(True)).limit(1)).first() is None

    def _put_success(self, connection: Connection, row: Row[Any], outcome: Succeeded) -> dict[str, Any]:
        self._put_model(connection, row, outcome.model, ModelState.READY)
        results = [] if outcome.result is None else [self._put_file(connection, row.tenant, outcome.result).id]
        return {
            "fine_tuned_model": outcome.model.name,
            "trained_tokens": outcome.trained_tokens,
            "result_files": results,
        }

    def _put_model(self, connection: Connection, row: Row[Any], new: NewModel, state: ModelState) -> None:
        values = plain(new) | {"tenant": row.tenant, "job_id": row.id, "state": state, "created_at": self._now()}
        if row.replaces is None:
            connection.execute(insert(models).values(**values))
        elif state is ModelState.WITHHELD:
            # The name stays with the model that is served.
            connection.execute(insert(models).values(**values | {"name": f"{new.name}@{row.id}"}))
        else:
            self._replace_model(connection, row, values)

    def _replace_model(self, connection: Connection, row: Row[Any], values: dict[str, Any]) -> None:
        """The model keeps its name and gets another release. Raises ConflictError for one that changed meanwhile."""
        if values["name"] != row.replaces or succeed(connection, values, self._now()) is None:
            raise ConflictError(f"the model {row.replaces!r} was deleted or renewed meanwhile; it is left as it is")

    def _put_checkpoint(self, connection: Connection, job: Job, new: NewCheckpoint) -> None:
        """A job that was begun again writes the same steps again: the later one stands."""
        same = checkpoints.c.job_id == job.id, checkpoints.c.step == new.step
        values = {"metrics": dict(new.metrics), "location": new.location, "created_at": self._now()}
        if connection.execute(update(checkpoints).where(*same).values(**values)).rowcount == 0:
            values |= {"id": new_id("ftckpt_"), "job_id": job.id, "tenant": job.tenant, "step": new.step}
            connection.execute(insert(checkpoints).values(**values))
        # Whoever gets on is not crashing.
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(crashes=0))

    def _recount_file(self, connection: Connection, tenant: str, size: int) -> None:
        self._count(connection, self._held_tenant(connection, tenant), files=1, size=size)

    def _audit_outcome(self, connection: Connection, actor: str, job: Job) -> None:
        facts: dict[str, Any] = {"model": job.fine_tuned_model, "error": job.error.code if job.error else None}
        self._audit(connection, actor, f"job.{job.state}", tenant=job.tenant, subject=job.id, facts=facts)


def _held_job(connection: Connection, claim: Claim) -> Row[Any]:
    """The job's row, held, if it is still this claim's. Raises LeaseLostError."""
    row = connection.execute(locked(select(jobs).where(jobs.c.id == claim.job.id))).one_or_none()
    if row is None or row.fence != claim.fence or row.worker != claim.worker:
        raise LeaseLostError(f"the job {claim.job.id} is no longer in the hands of the worker {claim.worker}")
    return row


def _row(connection: Connection, seq: int) -> Row[Any]:
    return connection.execute(select(jobs).where(jobs.c.seq == seq)).one()


def _noted(facts: Facts) -> dict[str, Any]:
    """The columns that are known now."""
    return {name: value for name, value in plain(facts).items() if value is not None}


def _action_of(outcome: Outcome) -> JobAction:
    if isinstance(outcome, Succeeded):
        return JobAction.SUCCEEDED
    return JobAction.FAILED if isinstance(outcome, Failed) else JobAction.STOPPED
