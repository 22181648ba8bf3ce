"""Fireworks AI: datasets and supervised fine-tuning jobs under the customer's account, both by names that we choose.

So nothing is created twice: the run's id is the name of dataset and job. A tuned model answers once it is deployed there.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from watchword.models.remote_calls import RefusedCallError, fields_of, told
from watchword.remote.jobs import stage_of
from watchword.remote.profiles.base import MEBIBYTE, Bounds, Profile
from watchword.remote.types import JobRequest, RemoteEvent, RemoteFile, RemoteJob, RemoteJobs, Stage
from watchword.secret.prompt import SecretPrompt

if TYPE_CHECKING:
    from openai import OpenAI

_STAGES = {
    "JOB_STATE_UNSPECIFIED": Stage.WAITING,
    "JOB_STATE_CREATING": Stage.WAITING,
    "JOB_STATE_CREATING_INPUT_DATASET": Stage.WAITING,
    "JOB_STATE_VALIDATING": Stage.WAITING,
    "JOB_STATE_PENDING": Stage.WAITING,
    "JOB_STATE_RE_QUEUEING": Stage.WAITING,
    "JOB_STATE_PAUSED": Stage.WAITING,
    "JOB_STATE_RUNNING": Stage.RUNNING,
    "JOB_STATE_WRITING_RESULTS": Stage.RUNNING,
    "JOB_STATE_COMPLETED": Stage.SUCCEEDED,
    "JOB_STATE_EARLY_STOPPED": Stage.SUCCEEDED,
    "JOB_STATE_FAILED": Stage.FAILED,
    "JOB_STATE_FAILED_CLEANING_UP": Stage.FAILED,
    "JOB_STATE_EXPIRED": Stage.FAILED,
    "JOB_STATE_CANCELLED": Stage.CANCELLED,
    "JOB_STATE_DELETING": Stage.CANCELLED,
    "JOB_STATE_DELETING_CLEANING_UP": Stage.CANCELLED,
}
_JOBS, _DATASETS = "/supervisedFineTuningJobs", "/datasets"
# Ours → theirs.
_FIELDS = {"n_epochs": "epochs", "learning_rate": "learningRate", "batch_size": "batchSize", "lora_r": "loraRank"}


class FireworksProfile(Profile):
    title = "Fireworks"
    url_example = "https://api.fireworks.ai/v1/accounts/ACCOUNT"
    chat_url = "https://api.fireworks.ai/inference/v1"
    key_env = "FIREWORKS_API_KEY"
    exporter = "fireworks"
    hyperparameters: ClassVar[Mapping[str, Bounds]] = {
        "n_epochs": Bounds(1, 50),
        "learning_rate": Bounds(1e-9, 1, whole=False),
        "batch_size": Bounds(1),
        "lora_r": Bounds(1, 64),
    }
    epochs = 1
    least_rows = 3
    # Larger ones go a way of their own, which this profile does not know.
    most_bytes = 150 * MEBIBYTE
    metadata = False
    retention = "Fireworks keeps a dataset until it is deleted."

    def chat_address(self, url: str) -> str:
        """The same for every account; an address elsewhere, for tests and proxies, serves both."""
        return self.chat_url if url.startswith("https://api.fireworks.ai/") else url

    def jobs(self, client: OpenAI, secret: SecretPrompt | None) -> RemoteJobs:
        """At routes of its own."""
        return FireworksJobs(client, secret)


class FireworksJobs:
    """See ``remote.types.RemoteJobs`` for every call. A file's id is the name of its dataset."""

    def __init__(self, client: OpenAI, secret: SecretPrompt | None) -> None:
        self._client, self._secret = client, secret

    def upload(self, path: Path, name: str) -> str:
        """A record first, unless an earlier try has made it, and then the bytes."""
        dataset = _named(name)
        if self._found(f"{_DATASETS}/{dataset}") is None:
            body = {"datasetId": dataset, "dataset": {"userUploaded": {}}}
            with told(self._secret):
                self._client.post(_DATASETS, cast_to=object, body=body)
        with path.open("rb") as stream, told(self._secret):
            self._client.post(
                f"{_DATASETS}/{dataset}:upload",
                cast_to=object,
                files=[("file", (name, stream))],
                options={"headers": {"Content-Type": "multipart/form-data"}},
            )
        return dataset

    def find_file(self, name: str, size: int) -> str | None:  # noqa: ARG002 -- the name is ours alone
        """Only one whose bytes have arrived."""
        found = self._found(f"{_DATASETS}/{_named(name)}")
        return _named(name) if found is not None and found.get("state") == "READY" else None

    def file(self, file: str) -> RemoteFile:
        """Ready or still on its way; faults are told by the job."""
        return RemoteFile(file, self._get(f"{_DATASETS}/{file}").get("state") == "READY" or None)

    def delete_file(self, file: str) -> None:
        """Removes it."""
        with told(self._secret):
            self._client.delete(f"{_DATASETS}/{file}", cast_to=object)

    def create(self, request: JobRequest) -> RemoteJob:
        """Under the run's id."""
        given = {_FIELDS[name]: value for name, value in request.hyperparameters.items() if value != "auto"}
        account = self._client.base_url.path.rstrip("/").partition("accounts/")[2]
        body = {
            **given,
            "baseModel": request.model,
            "dataset": f"accounts/{account}/datasets/{request.file}",
            "displayName": request.suffix or _job_name(request),
        }
        with told(self._secret):
            made: Any = self._client.post(
                f"{_JOBS}?supervisedFineTuningJobId={_job_name(request)}", cast_to=object, body=body
            )
        return job_of(made)

    def find_job(self, request: JobRequest) -> RemoteJob | None:
        """By its name."""
        found = self._found(f"{_JOBS}/{_job_name(request)}")
        return None if found is None else job_of(found)

    def job(self, job: str) -> RemoteJob:
        """As it is now."""
        return job_of(self._get(f"{_JOBS}/{job}"))

    def events(self, job: str, seen: Set[str]) -> list[RemoteEvent]:
        """There are none: how far the job is, in percent, stands in for them."""
        now = self._get(f"{_JOBS}/{job}")
        percent = int((now.get("jobProgress") or {}).get("percent") or 0)
        event = RemoteEvent(f"{percent} %", f"{percent} % done", percent or None, 100)
        return [event] if percent and event.id not in seen else []

    def cancel(self, job: str) -> RemoteJob:
        """Asks for its end. The answer is empty, so the job is looked at."""
        with told(self._secret):
            self._client.post(f"{_JOBS}/{job}:cancel", cast_to=object, body={})
        return self.job(job)

    def _get(self, route: str) -> dict[str, Any]:
        with told(self._secret):
            found: Any = self._client.get(route, cast_to=object)
        return fields_of(found)

    def _found(self, route: str) -> dict[str, Any] | None:
        try:
            return self._get(route)
        except RefusedCallError as error:
            if error.status == 404:
                return None
            raise


def job_of(job: Any) -> RemoteJob:
    """A job of Fireworks'. Raises RefusedCallError for a state that nobody knows."""
    state = str(job.get("state"))
    return RemoteJob(
        id=str(job.get("name", "")).rpartition("/")[2],
        stage=stage_of(state, _STAGES),
        status=state.removeprefix("JOB_STATE_").lower(),
        model=job.get("outputModel"),
        problem=str((job.get("status") or {}).get("message", "")),
        trained_tokens=(job.get("jobProgress") or {}).get("inputTokens"),
        hyperparameters={ours: job[theirs] for ours, theirs in _FIELDS.items() if job.get(theirs) is not None},
    )


def _named(file: str) -> str:
    return file.removesuffix(".jsonl")


def _job_name(request: JobRequest) -> str:
    return f"watchword-{request.run}"
