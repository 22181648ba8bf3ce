"""Fine-tuning jobs, their events and checkpoints, in and out."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, StringConstraints

from watchword.service.types.jobs import Checkpoint, Job, JobEvent, JobState
from watchword.service.wire.base import Metadata, ObjectId, Reply, Request, left_out
from watchword.service.wire.faults import invalid, unsupported

Auto = Literal["auto"]
Status = Literal["validating_files", "queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"]


class HyperparametersIn(Request):
    """What a tenant may set of a training; the provider's policy narrows these bounds."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"


class SupervisedIn(Request):
    """The one method that is offered."""

    hyperparameters: HyperparametersIn | None = None


class MethodIn(Request):
    """How to train. The fields of other methods are read, so that they can be refused by name."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: SupervisedIn | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


class CreateJob(Request):
    """The body that creates a job."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    training_file: ObjectId
    validation_file: ObjectId | None = None
    hyperparameters: HyperparametersIn | None = None
    method: MethodIn | None = None
    suffix: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2147483647)] | None = None
    integrations: Annotated[list[dict[str, Any]], Field(max_length=5)] | None = None
    metadata: Metadata | None = None

    def check_offered(self) -> None:
        """Raises CallError for what OpenAI's API has and this service does not."""
        if self.integrations:
            raise unsupported("integrations", "No integrations are offered here.", param="integrations")
        if self.method is not None and self.method.type != "supervised":
            raise unsupported(
                "method", f"The method {self.method.type!r} is not offered here; use 'supervised'.", param="method.type"
            )
        if self.method is not None and (self.method.dpo is not None or self.method.reinforcement is not None):
            raise invalid("A supervised method takes 'supervised' only.", param="method")

    def chosen(self) -> HyperparametersIn:
        """The hyperparameters, which stand in one of two places. Raises CallError where they stand in both."""
        inside = self.method.supervised.hyperparameters if self.method and self.method.supervised else None
        if inside is not None and self.hyperparameters is not None:
            raise invalid("Give the hyperparameters in 'method' only.", param="hyperparameters")
        return inside or self.hyperparameters or HyperparametersIn()


class HyperparametersOut(Reply):
    """As they were asked for, or chosen."""

    n_epochs: Auto | int = "auto"
    batch_size: Auto | int = "auto"
    learning_rate_multiplier: Auto | float = "auto"


class SupervisedOut(Reply):
    """The method's own part."""

    hyperparameters: HyperparametersOut


class MethodOut(Reply):
    """How a job trains."""

    type: Literal["supervised"] = "supervised"
    supervised: SupervisedOut


class JobFault(Reply):
    """Why a job has failed."""

    code: str
    message: str
    param: str | None = None


class JobObject(Reply):
    """A job."""

    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    id: str
    created_at: int
    finished_at: int | None = None
    estimated_finish: int | None = None
    model: str
    fine_tuned_model: str | None = None
    organization_id: str
    status: Status
    hyperparameters: HyperparametersOut
    method: MethodOut
    training_file: str
    validation_file: str | None = None
    result_files: list[str]
    trained_tokens: int | None = None
    error: JobFault | None = None
    seed: int
    integrations: list[Any] = Field(default_factory=list)
    metadata: dict[str, str] | None = None


class JobEventObject(Reply):
    """One event of a job."""

    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    id: str
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] | None = left_out()


class CheckpointMetrics(Reply):
    """The last figures at a checkpoint."""

    step: float | None = left_out()
    train_loss: float | None = left_out()
    train_mean_token_accuracy: float | None = left_out()
    valid_loss: float | None = left_out()
    valid_mean_token_accuracy: float | None = left_out()
    full_valid_loss: float | None = left_out()
    full_valid_mean_token_accuracy: float | None = left_out()


class CheckpointObject(Reply):
    """A checkpoint of a job."""

    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: CheckpointMetrics
    step_number: int


def job_object(job: Job) -> JobObject:
    """A job as OpenAI's clients read it. Whoever cancels a running job sees it run until it has stopped."""
    chosen = HyperparametersOut(
        n_epochs=job.hyperparameters.n_epochs,
        batch_size=job.hyperparameters.batch_size,
        learning_rate_multiplier=job.hyperparameters.learning_rate_multiplier,
    )
    return JobObject(
        id=job.id,
        created_at=int(job.created_at),
        finished_at=_seconds(job.finished_at),
        estimated_finish=_seconds(job.estimated_finish),
        model=job.model,
        fine_tuned_model=job.fine_tuned_model,
        organization_id=job.tenant,
        status=cast(Status, JobState.RUNNING if job.state is JobState.CANCELLING else job.state),
        hyperparameters=chosen,
        method=MethodOut(supervised=SupervisedOut(hyperparameters=chosen)),
        training_file=job.training_file,
        validation_file=job.validation_file,
        result_files=list(job.result_files),
        trained_tokens=job.trained_tokens,
        error=None if job.error is None else JobFault(**vars(job.error)),
        seed=job.seed,
        metadata=dict(job.metadata) or None,
    )


def event_object(event: JobEvent) -> JobEventObject:
    """An event as OpenAI's clients read it."""
    return JobEventObject(
        id=event.id,
        created_at=int(event.created_at),
        level=event.level,
        message=event.message,
        type=event.type,
        data=None if event.data is None else dict(event.data),
    )


def checkpoint_object(job: Job, checkpoint: Checkpoint) -> CheckpointObject:
    """A checkpoint as OpenAI's clients read it. Figures that OpenAI does not name are left out."""
    known = {name: value for name, value in checkpoint.metrics.items() if name in CheckpointMetrics.model_fields}
    return CheckpointObject(
        id=checkpoint.id,
        created_at=int(checkpoint.created_at),
        fine_tuned_model_checkpoint=f"{job.fine_tuned_model or job.model_name}:ckpt-step-{checkpoint.step}",
        fine_tuning_job_id=checkpoint.job_id,
        metrics=CheckpointMetrics(**{"step": float(checkpoint.step), **known}),
        step_number=checkpoint.step,
    )


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
