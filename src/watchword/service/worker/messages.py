"""What a worker and the process of one job say to each other over their pipe: values, told in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchword.service.settings import Policy
from watchword.service.types.jobs import Hyperparameters, JobError, NewCheckpoint, NewEvent, Stage

# What the worker says: end behind the next step, with a checkpoint.
STOP = "stop"


@dataclass(frozen=True)
class Order:
    """One job for one process. ``owner`` is whose the release will be.

    The provider's ``key`` travels here only: never in an argument list or in the environment.

    ``folder`` is the job's own, kept until the job has ended. In ``answers`` the base's answers to the gate are kept from job
    to job. No row may carry one of the secrets ``known``, which travel as the key does. ``unseen`` are releases whose secrets
    could not be read, so that nobody looks for them.
    """

    job_id: str
    model: str
    policy: Policy
    hyperparameters: Hyperparameters
    seed: int
    training_file: Path
    validation_file: Path | None
    folder: Path
    answers: Path
    launcher: str
    validated: bool
    key: bytes = field(repr=False)
    owner: Mapping[str, str] = field(default_factory=dict)
    known: tuple[str, ...] = field(default=(), repr=False)
    unseen: tuple[str, ...] = ()
    launcher_arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StageBegan:
    """A stage has begun."""

    stage: Stage


@dataclass(frozen=True)
class StageEnded:
    """A stage has ended well."""

    stage: Stage


@dataclass(frozen=True)
class Told:
    """Something for the job's list of events."""

    event: NewEvent


@dataclass(frozen=True)
class Resolved:
    """What was taken in the place of ``auto``."""

    hyperparameters: Hyperparameters


@dataclass(frozen=True)
class Expected:
    """Seconds until the training ends, as far as can be told."""

    seconds: float


@dataclass(frozen=True)
class Marked:
    """A point of the training that the tenant's list of checkpoints shows."""

    checkpoint: NewCheckpoint


@dataclass(frozen=True)
class Reported:
    """Something that only operators see."""

    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Repairing:
    """A model that failed its gate is tuned once more, or (``begun`` is false) has been.

    What is told in between is for operators only: to the tenant it is one long evaluation.
    """

    begun: bool


@dataclass(frozen=True)
class Tuned:
    """The job's last word: a release that passed its gate, and the tenant's curve as CSV."""

    release: Path
    weights_digest: str
    trained_tokens: int
    curve: bytes


@dataclass(frozen=True)
class Held:
    """The job's last word: a release that the gate holds back, even after its repair."""

    release: Path
    weights_digest: str


@dataclass(frozen=True)
class Refused:
    """The job's last word: it cannot be done. ``detail`` is for operators."""

    error: JobError
    detail: str = ""


@dataclass(frozen=True)
class Halted:
    """The job's last word: it has stopped as it was asked to, and can go on later."""


@dataclass(frozen=True)
class Away:
    """The job's last word: it needs a store that cannot be used now, and can go on later. ``why`` is for operators."""

    why: str


Ended = Tuned | Held | Refused | Halted
Last = Ended | Away
Message = StageBegan | StageEnded | Told | Resolved | Expected | Marked | Reported | Repairing | Last
