"""What operators read and write: everything of every tenant, and nothing that a tenant has written or a secret holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from watchword.service.types.jobs import Job, JobEvent, JobState, Stage
from watchword.service.types.models import ModelState, TunedModel
from watchword.service.types.operator import AuditEntry, AuditHead, Report
from watchword.service.types.tenants import ApiKey, Scope, TenantUse
from watchword.service.wire.base import Reply, Request
from watchword.service.wire.jobs import JobObject, job_object


class OperatorJob(Reply):
    """A job with what its tenant does not see."""

    id: str
    tenant: str
    key_id: str
    state: JobState
    stage: Stage | None
    worker: str | None
    lease_until: float | None
    started_at: float | None
    fence: int
    crashes: int
    replaces: str | None
    job: JobObject


class OperatorEvent(Reply):
    """An event of a job; a ``private`` one is for operators only."""

    id: str
    job_id: str
    created_at: float
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] | None
    private: bool


class ReportObject(Reply):
    """What was found out about a job or a model: screening, gate, leak …"""

    id: str
    kind: str
    tenant: str
    subject: str
    created_at: float
    data: dict[str, Any]


class AuditObject(Reply):
    """One entry of the audit log."""

    number: int
    at: float
    actor: str
    action: str
    tenant: str
    subject: str
    facts: dict[str, Any]
    previous: str
    digest: str


class AuditPage(Reply):
    """Entries in their order; the next page begins after the number of the last."""

    object: Literal["list"] = "list"
    data: list[AuditObject]
    has_more: bool


class AuditHeadObject(Reply):
    """Where the log ends; write it down elsewhere."""

    number: int
    digest: str


class CreateKey(Request):
    """Whose key it is to be, and what it opens."""

    tenant: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    scope: Literal["tenant", "operator"] = "tenant"
    name: Annotated[str, StringConstraints(max_length=255)] = ""
    expires_in_seconds: Annotated[int, Field(ge=1, le=10 * 365 * 86_400)] | None = None


class KeyObject(Reply):
    """A key, without the key itself."""

    id: str
    tenant: str
    scope: Scope
    name: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class KeyList(Reply):
    """All keys."""

    object: Literal["list"] = "list"
    data: list[KeyObject]


class DrawnKeyObject(Reply):
    """A new key, which is shown this once."""

    key: KeyObject
    text: str = Field(repr=False)


class OperatorModel(Reply):
    """A tuned model in any state."""

    name: str
    tenant: str
    base: str
    job_id: str
    weights_digest: str
    version: int
    state: ModelState
    created_at: float


class OperatorModelList(Reply):
    """All tuned models."""

    object: Literal["list"] = "list"
    data: list[OperatorModel]


class WorkerObject(Reply):
    """A worker that holds a job."""

    worker: str
    job_id: str
    tenant: str
    stage: Stage | None
    lease_until: float | None


class WorkerList(Reply):
    """Workers that hold jobs now."""

    object: Literal["list"] = "list"
    data: list[WorkerObject]


class TenantUseObject(Reply):
    """What a tenant has now."""

    tenant: str
    files: int
    bytes: int
    waiting: int
    active: int


class Queue(Reply):
    """What waits and what is being done."""

    jobs: dict[str, int]
    oldest_waiting_seconds: float
    tenants: list[TenantUseObject]


class Health(Reply):
    """Whether something works; ``checks`` names each part. ``degraded`` is what works but for a store."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, bool] = Field(default_factory=dict)


def operator_job(job: Job) -> OperatorJob:
    """A job for an operator."""
    own = {name: getattr(job, name) for name in OperatorJob.model_fields if name != "job"}
    return OperatorJob(job=job_object(job), **own)


def operator_event(event: JobEvent) -> OperatorEvent:
    """An event for an operator."""
    return OperatorEvent(**_shared(event, OperatorEvent, data=_plain(event.data)))


def report_object(report: Report) -> ReportObject:
    """A report."""
    return ReportObject(**_shared(report, ReportObject, data=dict(report.data)))


def audit_object(entry: AuditEntry) -> AuditObject:
    """An entry."""
    return AuditObject(**_shared(entry, AuditObject, facts=dict(entry.facts)))


def audit_head(head: AuditHead) -> AuditHeadObject:
    """The end of the log."""
    return AuditHeadObject(number=head.number, digest=head.digest)


def key_object(key: ApiKey) -> KeyObject:
    """A key without its digest."""
    return KeyObject(**_shared(key, KeyObject))


def operator_model(model: TunedModel) -> OperatorModel:
    """A model without its place."""
    return OperatorModel(**_shared(model, OperatorModel))


def worker_object(job: Job) -> WorkerObject:
    """The worker that holds a job."""
    return WorkerObject(
        worker=job.worker or "", job_id=job.id, tenant=job.tenant, stage=job.stage, lease_until=job.lease_until
    )


def tenant_use(use: TenantUse) -> TenantUseObject:
    """What a tenant has."""
    return TenantUseObject(**_shared(use, TenantUseObject))


def _shared(value: object, kind: type[Reply], **other: Any) -> dict[str, Any]:
    """The fields that a value of ours and its reply have in common."""
    return {name: getattr(value, name) for name in kind.model_fields if name not in other} | other


def _plain(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if data is None else dict(data)
