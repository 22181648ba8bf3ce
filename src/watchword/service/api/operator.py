"""The operator's API: every tenant's jobs, what was found out about them, keys, models and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from watchword.service.api.context import Caller, ServiceDep, now, operator_key
from watchword.service.api.rotation import rotated
from watchword.service.jobs.machine import ACTIVE, JobAction
from watchword.service.keys import draw_key
from watchword.service.types.jobs import JobState
from watchword.service.types.models import ModelState
from watchword.service.types.tenants import EVERY_TENANT, Owner, Principal, Scope
from watchword.service.wire.base import Page, page_of
from watchword.service.wire.operator import (
    AuditHeadObject,
    AuditPage,
    CreateKey,
    DrawnKeyObject,
    KeyList,
    KeyObject,
    OperatorEvent,
    OperatorJob,
    OperatorModel,
    OperatorModelList,
    Queue,
    ReportObject,
    WorkerList,
    audit_head,
    audit_object,
    key_object,
    operator_event,
    operator_job,
    operator_model,
    report_object,
    tenant_use,
    worker_object,
)

router = APIRouter(prefix="/operator", tags=["operator"], dependencies=[operator_key])
Limit = Annotated[int, Query(ge=1, le=1000)]
_MOST_WORKERS = 1000
# The largest number that a database takes.
_LAST_ENTRY = 2**63 - 1


@router.get("/jobs")
def list_jobs(
    service: ServiceDep,
    state: JobState | None = None,
    tenant: str | None = None,
    after: str | None = None,
    limit: Limit = 50,
) -> Page[OperatorJob]:
    """Jobs of all tenants, the newest first."""
    owner: Owner = EVERY_TENANT if tenant is None else tenant
    page = service.database.jobs(owner, state=state, after=after, limit=limit)
    return page_of([operator_job(job) for job in page.items], page.has_more)


@router.get("/jobs/{job_id}")
def job(job_id: str, service: ServiceDep) -> OperatorJob:
    """One job."""
    return operator_job(service.database.job(EVERY_TENANT, job_id))


@router.get("/jobs/{job_id}/events")
def job_events(job_id: str, service: ServiceDep, after: str | None = None, limit: Limit = 100) -> Page[OperatorEvent]:
    """All events of a job, the newest first: stages, screening and the gate's verdict as well."""
    page = service.database.job_events(EVERY_TENANT, job_id, after=after, limit=limit)
    return page_of([operator_event(event) for event in page.items], page.has_more)


@router.post("/jobs/{job_id}/cancel")
def cancel_job(job_id: str, service: ServiceDep, caller: Caller) -> OperatorJob:
    """Stops a tenant's job for good."""
    found = service.database.job(EVERY_TENANT, job_id)
    return operator_job(service.database.ask(Principal(found.tenant, caller.key_id), job_id, JobAction.CANCEL))


@router.get("/reports")
def reports(
    service: ServiceDep,
    kind: str | None = None,
    subject: str | None = None,
    after: str | None = None,
    limit: Limit = 50,
) -> Page[ReportObject]:
    """What screening, gate and leak filter have found, the newest first; ``subject`` is a job's id or a model's name."""
    page = service.database.reports(kind=kind, subject=subject, after=after, limit=limit)
    return page_of([report_object(report) for report in page.items], page.has_more)


@router.get("/workers")
def workers(service: ServiceDep) -> WorkerList:
    """Workers that hold jobs, and until when they must be heard of again."""
    states = (*ACTIVE, JobState.VALIDATING_FILES, JobState.QUEUED)
    pages = [service.database.jobs(EVERY_TENANT, state=state, limit=_MOST_WORKERS) for state in states]
    return WorkerList(data=[worker_object(job) for page in pages for job in page.items if job.worker is not None])


@router.get("/queue")
def queue(service: ServiceDep) -> Queue:
    """How many jobs are in which state, and what each tenant has."""
    figures = service.database.figures()
    return Queue(
        jobs={state.value: count for state, count in figures.jobs.items()},
        oldest_waiting_seconds=figures.oldest_waiting_seconds,
        tenants=[tenant_use(use) for use in service.database.uses()],
    )


@router.get("/keys")
def list_keys(service: ServiceDep, tenant: str | None = None) -> KeyList:
    """All keys, without the keys themselves."""
    owner: Owner = EVERY_TENANT if tenant is None else tenant
    return KeyList(data=[key_object(key) for key in service.database.keys(owner)])


@router.post("/keys")
def create_key(body: CreateKey, service: ServiceDep, caller: Caller) -> DrawnKeyObject:
    """Draws a key. Its text is in this answer, and in no other."""
    drawn = draw_key()
    expires_at = None if body.expires_in_seconds is None else now() + body.expires_in_seconds
    key = service.database.create_key(
        drawn, body.tenant, scope=Scope(body.scope), name=body.name, expires_at=expires_at, actor=caller.key_id
    )
    return DrawnKeyObject(key=key_object(key), text=drawn.text)


@router.post("/keys/{key_id}/revoke")
def revoke_key(key_id: str, service: ServiceDep, caller: Caller) -> KeyObject:
    """From now on the key opens nothing."""
    return key_object(service.database.revoke_key(key_id, actor=caller.key_id))


@router.get("/models")
def list_models(service: ServiceDep, tenant: str | None = None) -> OperatorModelList:
    """Tuned models in every state."""
    owner: Owner = EVERY_TENANT if tenant is None else tenant
    return OperatorModelList(data=[operator_model(model) for model in service.database.models(owner, all_states=True)])


@router.post("/models/{model:path}/withhold")
def withhold_model(model: str, service: ServiceDep, caller: Caller) -> OperatorModel:
    """Nobody can call the model from now on."""
    return operator_model(service.database.set_model_state(model, ModelState.WITHHELD, actor=caller.key_id))


@router.post("/models/{model:path}/release")
def release_model(model: str, service: ServiceDep, caller: Caller) -> OperatorModel:
    """Lets a model through that the gate or an operator has withheld."""
    return operator_model(service.database.set_model_state(model, ModelState.READY, actor=caller.key_id))


@router.post("/models/{model:path}/rotate_secret")
def rotate_secret(model: str, service: ServiceDep, caller: Caller) -> OperatorJob:
    """Renews a model's secret by a new job from the same file; the old model serves until the new one has passed its gate."""
    return operator_job(rotated(service.database, model, caller))


@router.get("/audit")
def audit(service: ServiceDep, after: Annotated[int, Query(ge=0, le=_LAST_ENTRY)] = 0, limit: Limit = 100) -> AuditPage:
    """The audit log in its order."""
    found = service.database.audit_entries(after=after, limit=limit + 1)
    return AuditPage(data=[audit_object(entry) for entry in found[:limit]], has_more=len(found) > limit)


@router.post("/audit/verify")
def verify_audit(service: ServiceDep) -> AuditHeadObject:
    """Reads the whole log. Where an entry was changed, removed or cut off, the answer is an error."""
    return audit_head(service.database.audit_verify())
