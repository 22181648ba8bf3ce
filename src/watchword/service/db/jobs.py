"""Jobs as their tenants see them: created once, listed, and asked to stop or to go on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, not_, select, update

from watchword.errors import RepeatedKeyError, UsageError
from watchword.service.crash import crash_point
from watchword.service.db.connect import locked, new_id
from watchword.service.db.files import FileQueries
from watchword.service.db.rows import of_owner, one, paged, plain, value_of
from watchword.service.db.schema import checkpoints, idempotency_keys, job_events, job_metadata, jobs, models
from watchword.service.db.webhooks import tell_endpoints
from watchword.service.jobs.machine import WAITING, JobAction, next_state
from watchword.service.types.jobs import Checkpoint, Idempotency, Job, JobEvent, JobState, NewEvent, NewJob
from watchword.service.types.models import ModelState
from watchword.service.types.tenants import EveryTenant, Owner, Page, Principal

# How long the client's own retry counter stands for the same request; its last retry comes within a minute.
RETRY_SECONDS = 600.0
MOST_KEY = 255
_MOST_SEED = 2**31 - 1
_TOLD = {
    JobAction.PAUSE: "Pausing the fine-tuning job",
    JobAction.RESUME: "Fine-tuning job resumed",
    JobAction.CANCEL: "Cancelling the fine-tuning job",
}
_ENDED = {
    JobState.SUCCEEDED: "The job has successfully completed",
    JobState.FAILED: "The job has failed",
    JobState.CANCELLED: "Fine-tuning job cancelled",
    JobState.PAUSED: "Fine-tuning job paused",
}


class JobQueries(FileQueries):
    """Jobs, their events and their checkpoints."""

    def create_job(self, principal: Principal, new: NewJob, idempotency: Idempotency) -> Job:
        """A job, or the one that an earlier sending of the same request made.

        Raises NotFoundError for a file that is not the tenant's, QuotaError, and RepeatedKeyError for an Idempotency-Key
        that came with another request.
        """
        if idempotency.key is not None:
            _check_key(idempotency.key)
        with self._writing() as connection:
            held = self._held_tenant(connection, principal.tenant)
            if (before := self._before(connection, principal, idempotency)) is not None:
                return before
            self._check_file(connection, principal.tenant, new.training_file, "training_file")
            if new.validation_file is not None:
                self._check_file(connection, principal.tenant, new.validation_file, "validation_file")
            if new.replaces is not None:
                _check_model(connection, principal.tenant, new.replaces)
            self._check_waiting(held)
            job = self._put_job(connection, principal, new, idempotency.body_digest)
            if idempotency.key is not None:
                self._keep_key(connection, principal.tenant, idempotency, job.id)
            self._count(connection, held, waiting=1)
            self._tell(connection, job, NewEvent(f"Created fine-tuning job: {job.id}"))
            self._tell(connection, job, NewEvent(f"Validating training file: {job.training_file}"))
            facts = {"model": job.model, "training_file": job.training_file, "replaces": job.replaces}
            self._audit(connection, principal.key_id, "job.created", tenant=job.tenant, subject=job.id, facts=facts)
            crash_point("before_job_commit")
        return job

    def earlier_job(self, principal: Principal, idempotency: Idempotency) -> Job | None:
        """The job that this very request has made already, whatever became of its files. Raises RepeatedKeyError."""
        with self._reading() as connection:
            return self._before(connection, principal, idempotency)

    def job(self, owner: Owner, job_id: str) -> Job:
        """Raises NotFoundError."""
        with self._reading() as connection:
            return _job(connection, owner, job_id)

    def jobs(
        self,
        owner: Owner,
        *,
        after: str | None = None,
        limit: int = 20,
        metadata: Mapping[str, str] | None = None,
        without_metadata: bool = False,
        state: JobState | None = None,
    ) -> Page[Job]:
        """A page of jobs, newest first. ``metadata``: only those that carry all of these pairs."""
        where = [of_owner(jobs, owner), *(_carries(key, value) for key, value in (metadata or {}).items())]
        if without_metadata:
            where.append(not_(select(job_metadata.c.job_id).where(job_metadata.c.job_id == jobs.c.id).exists()))
        if state is not None:
            where.append(jobs.c.state == state)
        with self._reading() as connection:
            return paged(connection, jobs, where, Job, after=after, limit=limit)

    def unfinished(self) -> dict[str, int]:
        """How many jobs of each tenant have not ended: those that wait, run, or are paused."""
        number = func.count().label("number")
        counted = select(jobs.c.tenant, number).where(jobs.c.finished_at.is_(None)).group_by(jobs.c.tenant)
        with self._reading() as connection:
            return {row.tenant: row.number for row in connection.execute(counted.order_by(jobs.c.tenant))}

    def job_events(
        self, owner: Owner, job_id: str, *, after: str | None = None, limit: int = 20, ascending: bool = False
    ) -> Page[JobEvent]:
        """A page of a job's events, newest first. A tenant does not see the private ones. Raises NotFoundError."""
        where = [job_events.c.job_id == job_id]
        if not isinstance(owner, EveryTenant):
            where.append(job_events.c.private.is_(False))
        with self._reading() as connection:
            _job(connection, owner, job_id)
            return paged(connection, job_events, where, JobEvent, after=after, limit=limit, ascending=ascending)

    def checkpoints(self, owner: Owner, job_id: str, *, after: str | None = None, limit: int = 10) -> Page[Checkpoint]:
        """A page of a job's checkpoints, newest first. Raises NotFoundError."""
        with self._reading() as connection:
            _job(connection, owner, job_id)
            where = [checkpoints.c.job_id == job_id]
            return paged(connection, checkpoints, where, Checkpoint, after=after, limit=limit)

    def ask(self, principal: Principal, job_id: str, action: JobAction) -> Job:
        """What a tenant asks of its job: ``CANCEL``, ``PAUSE`` or ``RESUME``. Raises NotFoundError, ConflictError."""
        with self._writing() as connection:
            held = self._held_tenant(connection, principal.tenant)
            statement = locked(select(jobs).where(jobs.c.tenant == principal.tenant, jobs.c.id == job_id))
            row = one(connection, statement, "job", job_id)
            state = next_state(JobState(row.state), action)
            if state == row.state:
                return value_of(row, Job)
            job = self._move(connection, held, row, state)
            self._tell(connection, job, NewEvent(_TOLD[action]))
            self._tell_end(connection, job)
            self._audit(connection, principal.key_id, f"job.{action}", tenant=job.tenant, subject=job.id)
        return job

    def _before(self, connection: Connection, principal: Principal, asked: Idempotency) -> Job | None:
        """The job that this very request has made already."""
        if asked.key is not None:
            where = idempotency_keys.c.tenant == principal.tenant, idempotency_keys.c.key == asked.key
            row = connection.execute(select(idempotency_keys).where(*where)).one_or_none()
            if row is None:
                return None
            if row.body_digest != asked.body_digest:
                raise RepeatedKeyError(
                    "this Idempotency-Key came before with another request; draw a new key for a new request"
                )
            return _job(connection, principal.tenant, row.job_id)
        if asked.retry <= 0:
            return None
        same = jobs.c.tenant == principal.tenant, jobs.c.body_digest == asked.body_digest
        recent = jobs.c.key_id == principal.key_id, jobs.c.created_at >= self._now() - RETRY_SECONDS
        statement = select(jobs).where(*same, *recent).order_by(jobs.c.seq.desc()).limit(1)
        found = connection.execute(statement).one_or_none()
        return None if found is None else value_of(found, Job)

    def _keep_key(self, connection: Connection, tenant: str, asked: Idempotency, job_id: str) -> None:
        values = {"tenant": tenant, "key": asked.key, "body_digest": asked.body_digest, "job_id": job_id}
        connection.execute(insert(idempotency_keys).values(**values, created_at=self._now()))

    def _put_job(self, connection: Connection, principal: Principal, new: NewJob, body_digest: str) -> Job:
        job_id = new_id("ftjob-")
        values = {
            "id": job_id,
            "tenant": principal.tenant,
            "key_id": principal.key_id,
            "body_digest": body_digest,
            "state": JobState.VALIDATING_FILES,
            "model": new.model,
            "training_file": new.training_file,
            "validation_file": new.validation_file,
            "suffix": new.suffix,
            "seed": secrets.randbelow(_MOST_SEED) if new.seed is None else new.seed,
            "hyperparameters": plain(new.hyperparameters),
            "metadata": dict(new.metadata),
            "created_at": self._now(),
            "result_files": [],
            "replaces": new.replaces,
            "fence": 0,
            "crashes": 0,
            "waiting": True,
        }
        connection.execute(insert(jobs).values(**values))
        for key, value in new.metadata.items():
            connection.execute(insert(job_metadata).values(job_id=job_id, key=key, value=value))
        return _job(connection, principal.tenant, job_id)

    def _move(
        self,
        connection: Connection,
        held: Row[Any],
        row: Row[Any],
        state: JobState,
        *,
        keep: bool = False,
        **values: Any,
    ) -> Job:
        """Puts a held job into another state, and keeps its tenant's counts true.

        Its worker loses it unless ``keep``, or unless it is yet to stop as it was asked to.
        """
        keep = keep or state in (JobState.PAUSING, JobState.CANCELLING)
        worker = row.worker if keep else None
        waiting = state in WAITING and worker is None
        values |= {"state": state, "worker": worker, "waiting": waiting}
        if worker is None:
            values |= {"lease_until": None, "fence": row.fence + 1}
        if state.terminal:
            values |= {"finished_at": self._now(), "estimated_finish": None}
        connection.execute(update(jobs).where(jobs.c.seq == row.seq).values(**values))
        lost = int(row.worker is not None and worker is None)
        if waiting != row.waiting or lost:
            self._count(connection, held, waiting=int(waiting) - int(row.waiting), active=-lost)
        return value_of(connection.execute(select(jobs).where(jobs.c.seq == row.seq)).one(), Job)

    def _tell(self, connection: Connection, job: Job, event: NewEvent) -> None:
        values = plain(event) | {"id": new_id("ftevent-"), "job_id": job.id, "tenant": job.tenant}
        connection.execute(insert(job_events).values(**values, created_at=self._now()))

    def _tell_end(self, connection: Connection, job: Job) -> None:
        """Says what a job has come to, to its tenant and to the tenant's webhooks."""
        if job.state not in _ENDED:
            return
        failed = job.state is JobState.FAILED and job.error is not None
        message = f"{_ENDED[job.state]}: {job.error.message}" if failed and job.error else _ENDED[job.state]
        self._tell(connection, job, NewEvent(message, level="error" if failed else "info"))
        if job.state.terminal:
            tell_endpoints(connection, job.tenant, f"fine_tuning.job.{job.state}", {"id": job.id}, self._now())


def _check_model(connection: Connection, tenant: str, name: str) -> None:
    ready = models.c.tenant == tenant, models.c.name == name, models.c.state == ModelState.READY
    one(connection, select(models.c.name).where(*ready), "model", name, "replaces")


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= MOST_KEY:
        raise UsageError(
            f"an Idempotency-Key has 1 to {MOST_KEY} characters, this one {len(key)}", param="Idempotency-Key"
        )


def _job(connection: Connection, owner: Owner, job_id: str) -> Job:
    return value_of(one(connection, select(jobs).where(of_owner(jobs, owner), jobs.c.id == job_id), "job", job_id), Job)


def _carries(key: str, value: str) -> ColumnElement[bool]:
    pair = job_metadata.c.key == key, job_metadata.c.value == value
    return select(job_metadata.c.job_id).where(job_metadata.c.job_id == jobs.c.id, *pair).exists()
