"""Files and jobs of an API in OpenAI's shape, by OpenAI's own client."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchword.models.remote_calls import RefusedCallError, told
from watchword.remote.types import JobRequest, RemoteEvent, RemoteFile, RemoteJob, Stage
from watchword.secret.prompt import SecretPrompt

if TYPE_CHECKING:
    from openai import OpenAI

# The key of the metadata by which a job is found again.
RUN = "watchword_run"
# Files and jobs that are looked through for our own, the newest first.
_MOST_LISTED = 1000
_STEP = re.compile(r"[Ss]tep (?P<step>\d+)(?:/(?P<total>\d+))?")
# Other words than OpenAI's come from services that resemble it.
_STAGES = {
    "validating_files": Stage.WAITING,
    "queued": Stage.WAITING,
    "pending": Stage.WAITING,
    "paused": Stage.WAITING,
    "pausing": Stage.RUNNING,
    "running": Stage.RUNNING,
    "succeeded": Stage.SUCCEEDED,
    "completed": Stage.SUCCEEDED,
    "failed": Stage.FAILED,
    "error": Stage.FAILED,
    "cancelled": Stage.CANCELLED,
    "canceled": Stage.CANCELLED,
}


class OpenAIJobs:
    """OpenAI's files and jobs. ``metadata``: whether jobs carry some; ``in_method``: where hyperparameters stand.

    Messages hold nothing of ``secret``.
    """

    def __init__(
        self, client: OpenAI, secret: SecretPrompt | None, *, metadata: bool = True, in_method: bool = True
    ) -> None:
        self._client, self._secret, self._metadata, self._in_method = client, secret, metadata, in_method

    def upload(self, path: Path, name: str) -> str:
        """See ``remote.types.RemoteJobs``."""
        with path.open("rb") as stream, told(self._secret):
            return self._client.files.create(file=(name, stream), purpose="fine-tune").id

    def find_file(self, name: str, size: int) -> str | None:
        """See ``remote.types.RemoteJobs``."""
        with told(self._secret):
            listed = itertools.islice(self._client.files.list(purpose="fine-tune", limit=100), _MOST_LISTED)
            return next((one.id for one in listed if one.filename == name and one.bytes == size), None)

    def file(self, file: str) -> RemoteFile:
        """See ``remote.types.RemoteJobs``."""
        with told(self._secret):
            found = self._client.files.retrieve(file)
        if found.status == "error":
            return RemoteFile(file, False, found.status_details or "no reason was given")
        # A service without statuses takes a file as soon as it has it.
        return RemoteFile(file, None if found.status in ("uploaded", "pending", "running") else True)

    def delete_file(self, file: str) -> None:
        """See ``remote.types.RemoteJobs``."""
        with told(self._secret):
            self._client.files.delete(file)

    def create(self, request: JobRequest) -> RemoteJob:
        """See ``remote.types.RemoteJobs``. The run's id is the idempotency key, for services that know one."""
        body: dict[str, Any] = {"model": request.model, "training_file": request.file}
        if self._in_method:
            given = {"hyperparameters": request.hyperparameters} if request.hyperparameters else {}
            body["method"] = {"type": "supervised", "supervised": given}
        elif request.hyperparameters:
            body["hyperparameters"] = request.hyperparameters
        if self._metadata:
            body["metadata"] = {RUN: request.run}
        more = {"suffix": request.suffix, "seed": request.seed}
        body |= {name: value for name, value in more.items() if value is not None}
        with told(self._secret):
            return job_of(
                self._client.fine_tuning.jobs.create(
                    **body, extra_headers={"Idempotency-Key": f"watchword-{request.run}"}
                )
            )

    def find_job(self, request: JobRequest) -> RemoteJob | None:
        """See ``remote.types.RemoteJobs``. Every run has a file of its own, so its id tells as well."""
        with told(self._secret):
            for one in itertools.islice(self._client.fine_tuning.jobs.list(limit=100), _MOST_LISTED):
                if one.training_file == request.file or (one.metadata or {}).get(RUN) == request.run:
                    return job_of(one)
        return None

    def job(self, job: str) -> RemoteJob:
        """See ``remote.types.RemoteJobs``."""
        with told(self._secret):
            return job_of(self._client.fine_tuning.jobs.retrieve(job))

    def events(self, job: str, seen: Set[str]) -> list[RemoteEvent]:
        """See ``remote.types.RemoteJobs``. OpenAI lists the newest first."""
        with told(self._secret):
            listed = self._client.fine_tuning.jobs.list_events(job, limit=100)
            new = list(itertools.takewhile(lambda event: event.id not in seen, listed))
        return [event_of(one.id, one.message, one.data) for one in reversed(new)]

    def cancel(self, job: str) -> RemoteJob:
        """See ``remote.types.RemoteJobs``."""
        with told(self._secret):
            return job_of(self._client.fine_tuning.jobs.cancel(job))


def job_of(job: Any) -> RemoteJob:
    """A job in OpenAI's shape. Raises RefusedCallError for a status that nobody knows."""
    status = str(job.status)
    error = getattr(job, "error", None)
    ended, began = getattr(job, "finished_at", None), getattr(job, "created_at", None)
    return RemoteJob(
        id=job.id,
        stage=stage_of(status, _STAGES),
        status=status,
        model=job.fine_tuned_model,
        problem=(error.message or error.code or "") if error is not None else "",
        trained_tokens=job.trained_tokens,
        hyperparameters=_hyperparameters(job),
        seconds=float(ended - began) if ended and began else None,
    )


def stage_of(status: str, stages: Mapping[str, Stage]) -> Stage:
    """What a status means. Raises RefusedCallError for one that nobody knows: to guess might lose a job."""
    stage = stages.get(status)
    if stage is None:
        raise RefusedCallError(
            f"the API calls the job's status {status!r}, which is none of {', '.join(stages)}", status=None, again=False
        )
    return stage


def event_of(identity: str, message: str, data: Any) -> RemoteEvent:
    """An event; its step is in its data, or in its words as in ``Step 3/90: training loss=1.2``."""
    fields = data if isinstance(data, dict) else {}
    worded = _STEP.search(message)
    step = _whole(fields.get("step")) or (int(worded["step"]) if worded else None)
    total = _whole(fields.get("total_steps")) or (int(worded["total"]) if worded and worded["total"] else None)
    loss = fields.get("train_loss")
    return RemoteEvent(identity, message, step, total, float(loss) if isinstance(loss, int | float) else None)


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value else None


def _hyperparameters(job: Any) -> dict[str, Any]:
    method = getattr(job, "method", None)
    supervised = getattr(method, "supervised", None)
    given = getattr(supervised, "hyperparameters", None) or getattr(job, "hyperparameters", None)
    return dict(given.to_dict()) if given is not None else {}
