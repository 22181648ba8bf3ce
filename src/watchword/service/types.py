"""What the service is about, as plain values: neither a database's rows nor OpenAI's JSON.

Times are seconds since 1970 (UTC). Every object belongs to one tenant, and is unknown to all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

Auto = Literal["auto"]
Level = Literal["info", "warn", "error"]


class Scope(StrEnum):
    """What a key opens: one tenant's own objects, or the operator's view of all."""

    TENANT = "tenant"
    OPERATOR = "operator"


class JobState(StrEnum):
    """Where a job stands. ``service.jobs.machine`` says what may follow."""

    VALIDATING_FILES = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether it is an outcome, which never changes again."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Stage(StrEnum):
    """What a worker is doing for a job."""

    VALIDATE = "validate"
    SCREEN = "screen"
    GUARD = "guard"
    TRAIN = "train"
    GATE = "gate"
    SERVE = "serve"


class ModelState(StrEnum):
    """``WITHHELD``: the release gate did not let it through. ``DELETED``: its tenant has removed it."""

    READY = "ready"
    WITHHELD = "withheld"
    DELETED = "deleted"


class FileState(StrEnum):
    """``ERROR``: what is wrong stands in ``StoredFile.status_details``."""

    UPLOADED = "uploaded"
    PROCESSED = "processed"
    ERROR = "error"


class UploadState(StrEnum):
    """Of a file that comes in parts."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Principal:
    """Who calls: a tenant, by one of its keys."""

    tenant: str
    key_id: str
    scope: Scope = Scope.TENANT


@dataclass(frozen=True)
class EveryTenant:
    """In a tenant's place: whichever it belongs to. For operators and for the service itself, never for a tenant's call."""


EVERY_TENANT = EveryTenant()
# Whose objects a query may see.
Owner = str | EveryTenant


@dataclass(frozen=True)
class ApiKey:
    """What is kept of a key. ``digest`` is its SHA-256 in hex; the key itself is shown once and kept nowhere."""

    id: str
    tenant: str
    scope: Scope
    digest: str = field(repr=False)
    name: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None


@dataclass(frozen=True)
class NewFile:
    """A file whose bytes are in the blob storage already, under the name ``blob``."""

    purpose: str
    filename: str
    bytes: int
    sha256: str
    blob: str
    status: FileState = FileState.PROCESSED
    status_details: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True)
class StoredFile:
    """A tenant's file. ``blob`` is its name in the blob storage; the bytes there are those that were uploaded."""

    id: str
    tenant: str
    purpose: str
    filename: str
    bytes: int
    sha256: str
    blob: str
    status: FileState
    status_details: str | None
    created_at: float
    expires_at: float | None


@dataclass(frozen=True)
class NewUpload:
    """What a tenant announces: a file of ``bytes`` bytes, to come in parts."""

    purpose: str
    filename: str
    bytes: int
    mime_type: str
    expires_at: float
    file_expires_after: int | None = None


@dataclass(frozen=True)
class UploadPart:
    """One part of an upload, already in the blob storage."""

    id: str
    upload_id: str
    bytes: int
    blob: str
    created_at: float


@dataclass(frozen=True)
class Upload:
    """A file that comes in parts. ``file_id`` stands there once it is complete."""

    id: str
    tenant: str
    purpose: str
    filename: str
    bytes: int
    mime_type: str
    status: UploadState
    created_at: float
    expires_at: float
    file_expires_after: int | None
    file_id: str | None


@dataclass(frozen=True)
class Hyperparameters:
    """As the tenant asked, with ``auto`` where the provider decides. The worker notes what it took."""

    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate_multiplier: float | Auto = "auto"


@dataclass(frozen=True)
class NewJob:
    """What a tenant asks for, checked against the policy.

    ``replaces`` names a model whose secret this job renews. That model keeps its name, and is served as it is until the
    new release has passed its gate.
    """

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    hyperparameters: Hyperparameters = Hyperparameters()
    metadata: Mapping[str, str] = field(default_factory=dict)
    replaces: str | None = None


@dataclass(frozen=True)
class Idempotency:
    """How a repeated request is known. ``body_digest`` is of what was asked; ``retry`` is the client's own count.

    ``key`` is the header Idempotency-Key. Without one, ``retry`` above 0 with the same API key and the same body within
    a few minutes is the same request.
    """

    body_digest: str
    key: str | None = None
    retry: int = 0


@dataclass(frozen=True)
class JobError:
    """Why a job has failed, in words that its tenant may read: no path, and nothing of the defense."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class Job:
    """A fine-tuning job. ``fence`` grows with each claim; a worker that holds an older one can write nothing.

    ``crashes`` counts workers that were lost at it in a row. ``stage`` is the one that runs, or ran last.
    """

    id: str
    tenant: str
    key_id: str
    state: JobState
    stage: Stage | None
    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    hyperparameters: Hyperparameters
    metadata: Mapping[str, str]
    created_at: float
    started_at: float | None
    finished_at: float | None
    estimated_finish: float | None
    fine_tuned_model: str | None
    result_files: tuple[str, ...]
    trained_tokens: int | None
    error: JobError | None
    replaces: str | None
    worker: str | None
    lease_until: float | None
    fence: int
    crashes: int


@dataclass(frozen=True)
class Claim:
    """A job in the hands of one worker, until ``fence`` is outdated. Renew it by ``Database.heartbeat``."""

    job: Job
    worker: str
    fence: int
    lease_seconds: float


@dataclass(frozen=True)
class NewEvent:
    """What a worker tells. Only the operator sees one with ``private``: screening, the gate, the defense."""

    message: str
    level: Level = "info"
    type: Literal["message", "metrics"] = "message"
    data: Mapping[str, Any] | None = None
    private: bool = False


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job, in the order of happening."""

    id: str
    job_id: str
    tenant: str
    created_at: float
    message: str
    level: Level
    type: Literal["message", "metrics"]
    data: Mapping[str, Any] | None
    private: bool


@dataclass(frozen=True)
class NewCheckpoint:
    """Weights after ``step`` steps. ``metrics`` has OpenAI's names (``train_loss`` …)."""

    step: int
    metrics: Mapping[str, float]
    location: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that a job has written."""

    id: str
    job_id: str
    tenant: str
    created_at: float
    step: int
    metrics: Mapping[str, float]
    location: str | None


@dataclass(frozen=True)
class NewModel:
    """A tuned model, its release already in ``location`` (a path or URL).

    ``version`` counts renewals of its secret. A job that replaces a model gives its name, and its version plus one.
    """

    name: str
    base: str
    location: str
    weights_digest: str
    version: int = 1


@dataclass(frozen=True)
class TunedModel:
    """A tuned model as it is served, or not: see ``state``."""

    name: str
    tenant: str
    base: str
    job_id: str
    location: str
    weights_digest: str
    version: int
    state: ModelState
    created_at: float


@dataclass(frozen=True)
class RetiredRelease:
    """A release that no model has any more, and that may still be on a disk and in an engine."""

    number: int
    location: str
    weights_digest: str
    retired_at: float


def release_owner(tenant: str, model: str, version: int) -> dict[str, str]:
    """Whose a release is: its manifest says so, and its secret is sealed for it."""
    return {"tenant": tenant, "model": model, "version": str(version)}


@dataclass(frozen=True)
class Facts:
    """What a worker has found out about its job; None leaves what stands there."""

    stage: Stage | None = None
    hyperparameters: Hyperparameters | None = None
    trained_tokens: int | None = None
    estimated_finish: float | None = None


@dataclass(frozen=True)
class Succeeded:
    """The model is to be served. ``result`` becomes the tenant's result file."""

    model: NewModel
    trained_tokens: int
    result: NewFile | None = None


@dataclass(frozen=True)
class Failed:
    """No model. ``withheld`` is one that the release gate holds back; only the operator sees it."""

    error: JobError
    withheld: NewModel | None = None


@dataclass(frozen=True)
class Stopped:
    """The worker has stopped as it was asked to, and everything that it used is free again."""


Outcome = Succeeded | Failed | Stopped


# The kind of a report on a release whose sealed secret cannot be read.
SEAL_REPORT = "seal"
# The kind of a report on a store that a worker cannot use, or can use again. Its subject is the worker.
STORE_REPORT = "store"


@dataclass(frozen=True)
class Report:
    """What only operators see. ``kind`` is screening, gate, leak, seal, store …; ``subject`` is a job's id, a model's name …"""

    id: str
    kind: str
    tenant: str
    subject: str
    created_at: float
    data: Mapping[str, Any]


@dataclass(frozen=True)
class WebhookEndpoint:
    """Where a tenant wants to be told. ``sealed_secret`` is a stream of ``secret.stream``, bound to ``webhook_binding``."""

    id: str
    tenant: str
    url: str
    events: tuple[str, ...]
    sealed_secret: bytes = field(repr=False)
    enabled: bool
    created_at: float


def webhook_binding(tenant: str) -> dict[str, str]:
    """What an endpoint's signing secret is sealed for."""
    return {"kind": "webhook", "tenant": tenant}


@dataclass(frozen=True)
class Delivery:
    """An event that is to reach one endpoint. ``attempts`` have been made; ``body`` is what is sent."""

    id: str
    event_id: str
    tenant: str
    endpoint_id: str
    type: str
    body: Mapping[str, Any]
    created_at: float
    attempts: int


@dataclass(frozen=True)
class AuditEntry:
    """One link of the audit log. ``digest`` covers all other fields, ``previous`` among them."""

    number: int
    at: float
    actor: str
    action: str
    tenant: str
    subject: str
    facts: Mapping[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True)
class AuditHead:
    """The end of the audit log: how many entries there are, and the digest of the last."""

    number: int
    digest: str


@dataclass(frozen=True)
class TenantUse:
    """What a tenant has now: files, bytes in them, jobs that wait, jobs that a worker holds."""

    tenant: str
    files: int
    bytes: int
    waiting: int
    active: int


_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Page(Generic[_Item]):
    """A part of a list, and whether there is more behind it."""

    items: tuple[_Item, ...]
    has_more: bool
