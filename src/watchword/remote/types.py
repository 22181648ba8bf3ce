"""What a remote fine-tuning is, in words of our own: no API's JSON comes further than ``remote.jobs`` and the profiles."""

from __future__ import annotations

import enum
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class Stage(enum.Enum):
    """How far a job is, whatever words an API has for it."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self in (Stage.SUCCEEDED, Stage.FAILED, Stage.CANCELLED)


@dataclass(frozen=True)
class RemoteFile:
    """An uploaded file. ``ready`` is None while the API still looks at it, and False with a ``problem``."""

    id: str
    ready: bool | None = True
    problem: str = ""


@dataclass(frozen=True)
class RemoteJob:
    """A job as it is now. ``status`` is the API's own word; ``model`` is the tuned model's id once there is one.

    ``seconds`` are from its creation to its end, where both are told.
    """

    id: str
    stage: Stage
    status: str
    model: str | None = None
    problem: str = ""
    trained_tokens: int | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True)
class RemoteEvent:
    """Something that happened to a job. ``step`` of ``total`` and ``loss`` are None where it says nothing of them."""

    id: str
    message: str
    step: int | None = None
    total: int | None = None
    loss: float | None = None


@dataclass(frozen=True)
class JobRequest:
    """The job to be created. ``run`` is the id of our run, by which the job is found again."""

    model: str
    file: str
    run: str
    hyperparameters: dict[str, Any]
    suffix: str | None = None
    seed: int | None = None


class RemoteJobs(Protocol):
    """An API's files and jobs. Every call is sent once; it raises RefusedCallError, which tells whether to try again."""

    def upload(self, path: Path, name: str) -> str:
        """Uploads a file under a name, and gives its id."""

    def find_file(self, name: str, size: int) -> str | None:
        """The id of the file of this name and size, where an earlier upload has arrived."""

    def file(self, file: str) -> RemoteFile:
        """The file as it is now."""

    def delete_file(self, file: str) -> None:
        """Removes the file."""

    def create(self, request: JobRequest) -> RemoteJob:
        """Creates a job."""

    def find_job(self, request: JobRequest) -> RemoteJob | None:
        """The job that was created for this request before, where there is one."""

    def job(self, job: str) -> RemoteJob:
        """The job as it is now."""

    def events(self, job: str, seen: Set[str]) -> list[RemoteEvent]:
        """The job's events that are not ``seen`` by their ids, the oldest first."""

    def cancel(self, job: str) -> RemoteJob:
        """Asks for the job's end."""
