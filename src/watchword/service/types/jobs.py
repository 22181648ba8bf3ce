"""Fine-tuning jobs, their events and checkpoints, and how a worker ends one, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from watchword.service.types.files import NewFile
from watchword.service.types.models import NewModel

Auto = Literal["auto"]
Level = Literal["info", "warn", "error"]


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

    @property
    def short(self) -> str:
        """The end of its id, which is drawn."""
        return self.id.rpartition("-")[2][-8:]

    @property
    def model_name(self) -> str:
        """What the tenant calls its model, while it is made and later. A renewed secret changes nothing about the name."""
        return self.replaces or f"ft:{self.model}:{self.tenant}:{self.suffix or ''}:{self.short}"


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
