"""Fine-tuning jobs: created, followed, and stopped."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request

from watchword.errors import NotFoundError
from watchword.service.api.context import Caller, Service, ServiceDep, idempotency_of, tenant_key
from watchword.service.crash import crash_point
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import Policy
from watchword.service.types.files import FileState
from watchword.service.types.jobs import Hyperparameters, Job, NewJob
from watchword.service.types.tenants import Principal
from watchword.service.wire.base import Page, page_of
from watchword.service.wire.faults import invalid, unsupported
from watchword.service.wire.files import PURPOSE
from watchword.service.wire.jobs import (
    CheckpointObject,
    CreateJob,
    HyperparametersIn,
    JobEventObject,
    JobObject,
    checkpoint_object,
    event_object,
    job_object,
)

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine_tuning"], dependencies=[tenant_key])
_METADATA = re.compile(r"metadata\[(?P<key>.{1,64})\]", re.DOTALL)
_WAIT = re.compile(r"(?:^|[,;\s])wait=(?P<seconds>[0-9]{1,3})(?:$|[,;\s])")
_LONGEST_WAIT, _LOOK_SECONDS = 60, 0.25
_SEEDS = 2**31
_SUFFIX = re.compile(r"[A-Za-z0-9._-]+")
Limit = Annotated[int, Query(ge=1, le=100)]


@router.post("")
async def create(body: CreateJob, request: Request, service: ServiceDep, caller: Caller) -> JobObject:
    """Creates a job. The same Idempotency-Key, or the client's own repetition, gives the same job again."""
    body.check_offered()
    idempotency = idempotency_of(request, msgspec.json.encode(body.model_dump(), order="deterministic"))

    def created() -> Job:
        # First: a file that has gone since makes no other answer of a repetition.
        if (before := service.database.earlier_job(caller, idempotency)) is not None:
            return before
        wanted = _checked(service, body)
        _check_files(service, caller, body)
        return service.database.create_job(caller, wanted, idempotency)

    job = await asyncio.to_thread(created)
    crash_point("after_job_commit")
    return job_object(job)


@router.get("")
def list_jobs(
    request: Request, service: ServiceDep, caller: Caller, after: str | None = None, limit: Limit = 20
) -> Page[JobObject]:
    """The tenant's jobs, the newest first; ``metadata[key]=value`` picks those that carry it."""
    metadata = {
        match["key"]: value
        for name, value in request.query_params.multi_items()
        if (match := _METADATA.fullmatch(name)) is not None
    }
    without = request.query_params.get("metadata") == "null"
    page = service.database.jobs(caller.tenant, after=after, limit=limit, metadata=metadata, without_metadata=without)
    return page_of([job_object(job) for job in page.items], page.has_more)


@router.get("/{job_id}")
async def retrieve(job_id: str, request: Request, service: ServiceDep, caller: Caller) -> JobObject:
    """One job. With the header ``Prefer: wait=20`` the answer comes when the job has ended, after 20 seconds at most."""
    until = time.monotonic() + _wait(request)
    while True:
        job = await asyncio.to_thread(service.database.job, caller.tenant, job_id)
        if job.state.terminal or time.monotonic() >= until:
            return job_object(job)
        await asyncio.sleep(_LOOK_SECONDS)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, service: ServiceDep, caller: Caller) -> JobObject:
    """Stops a job for good."""
    return _asked(service, caller, job_id, JobAction.CANCEL)


@router.post("/{job_id}/pause")
def pause(job_id: str, service: ServiceDep, caller: Caller) -> JobObject:
    """Stops a job at its next checkpoint; its worker is free for others."""
    return _asked(service, caller, job_id, JobAction.PAUSE)


@router.post("/{job_id}/resume")
def resume(job_id: str, service: ServiceDep, caller: Caller) -> JobObject:
    """Puts a paused job back into the queue; it goes on from its checkpoint."""
    return _asked(service, caller, job_id, JobAction.RESUME)


@router.get("/{job_id}/events")
def events(
    job_id: str, service: ServiceDep, caller: Caller, after: str | None = None, limit: Limit = 20
) -> Page[JobEventObject]:
    """What has happened to a job, the newest first."""
    page = service.database.job_events(caller.tenant, job_id, after=after, limit=limit)
    return page_of([event_object(event) for event in page.items], page.has_more)


@router.get("/{job_id}/checkpoints")
def checkpoints(
    job_id: str, service: ServiceDep, caller: Caller, after: str | None = None, limit: Limit = 10
) -> Page[CheckpointObject]:
    """A job's checkpoints, the newest first."""
    job = service.database.job(caller.tenant, job_id)
    page = service.database.checkpoints(caller.tenant, job_id, after=after, limit=limit)
    return page_of([checkpoint_object(job, checkpoint) for checkpoint in page.items], page.has_more)


def _asked(service: Service, caller: Principal, job_id: str, action: JobAction) -> JobObject:
    job = service.database.ask(caller, job_id, action)
    crash_point("after_job_asked")
    return job_object(job)


def _wait(request: Request) -> int:
    """The seconds that the client prefers to wait (RFC 7240)."""
    found = _WAIT.search(request.headers.get("prefer", ""))
    return min(int(found["seconds"]), _LONGEST_WAIT) if found else 0


def _checked(service: Service, body: CreateJob) -> NewJob:
    """The job that is asked for. Raises CallError for what the policy does not offer."""
    policy = service.settings.policies.get(body.model)
    if policy is None:
        if body.model.startswith("ft:"):
            raise unsupported("model", "A tuned model cannot be tuned again here; name a base model.", param="model")
        offered = ", ".join(sorted(service.settings.policies))
        raise invalid(f"The model {body.model[:64]!r} cannot be fine-tuned; choose one of {offered}.", param="model")
    if body.suffix is not None and not _SUFFIX.fullmatch(body.suffix):
        raise invalid("A suffix has letters, digits, and . _ - only.", param="suffix")
    chosen = body.chosen()
    _check_bounds(policy, chosen)
    return NewJob(
        model=body.model,
        training_file=body.training_file,
        validation_file=body.validation_file,
        suffix=body.suffix,
        seed=secrets.randbelow(_SEEDS) if body.seed is None else body.seed,
        hyperparameters=Hyperparameters(**chosen.model_dump()),
        metadata=body.metadata or {},
    )


def _check_bounds(policy: Policy, chosen: HyperparametersIn) -> None:
    for name, value in chosen.model_dump().items():
        least, most = getattr(policy.bounds, name)
        if value != "auto" and not least <= value <= most:
            raise invalid(f"This service takes {name} from {least} to {most}.", param=f"hyperparameters.{name}")


def _check_files(service: Service, caller: Principal, body: CreateJob) -> None:
    for param, file_id in (("training_file", body.training_file), ("validation_file", body.validation_file)):
        if file_id is None:
            continue
        try:
            file = service.database.file(caller.tenant, file_id)
        except NotFoundError:
            raise invalid(f"There is no file {file_id[:64]!r}.", param=param) from None
        if file.purpose != PURPOSE:
            raise invalid(f"The file {file_id} is of purpose {file.purpose!r}; give one for fine-tune.", param=param)
        if file.status is FileState.ERROR:
            raise invalid(f"The file {file_id} has faults: {file.status_details}", param=param)
