"""Writes down what a job's process says while it runs. Every write carries the claim's fence."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from watchword.service.crash import crash_point
from watchword.service.db import Database
from watchword.service.jobs.machine import JobAction
from watchword.service.types.jobs import Claim, Facts, Hyperparameters, JobState, NewEvent, Stage
from watchword.service.worker.messages import (
    Expected,
    Marked,
    Message,
    Repairing,
    Reported,
    StageBegan,
    StageEnded,
    Told,
)

# In words that any provider would use; the stage's own name is in the data.
_SAID = {
    Stage.VALIDATE: "Validating the files",
    Stage.SCREEN: "Checking the training file against the usage policy",
    Stage.GUARD: "Preparing the training data",
    Stage.TRAIN: "Training the model",
    Stage.GATE: "Evaluating the model",
    Stage.SERVE: "Publishing the model",
}


@dataclass
class Recorder:
    """The record of one claim. ``stage`` is the one that runs. Raises LeaseLostError where others hold the job.

    While a model is repaired, the tenant is told nothing: that would tell that it failed its gate (``messages.Repairing``).
    """

    database: Database
    claim: Claim
    hyperparameters: Hyperparameters
    stage: Stage | None = None
    state: JobState = field(init=False)
    _repairing: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.state = self.claim.job.state

    @property
    def validated(self) -> bool:
        """Whether the files have been found fit, by this worker or an earlier one."""
        return self.state is not JobState.VALIDATING_FILES

    def start(self) -> None:
        """Says that the job runs, once its files are fit and unless that was said. A new process begins here."""
        self._repairing = False
        if self.state is not JobState.QUEUED:
            return
        event = NewEvent("Fine-tuning job started")
        facts = Facts(hyperparameters=self.hyperparameters)
        self.state = self.database.advance(self.claim, JobAction.STARTED, event, facts=facts).state
        crash_point("after_start")

    def write(self, message: Message) -> None:
        """Writes down one message; last words are not among them."""
        if isinstance(message, StageBegan):
            self.began(message.stage)
        elif isinstance(message, StageEnded):
            self.ended(message.stage)
        elif isinstance(message, Told):
            self.database.record(self.claim, self._seen(message.event))
        elif isinstance(message, Repairing):
            self._repairing = message.begun
        elif isinstance(message, Marked):
            # The tenant's list keeps those of the training that it was told of.
            self.database.record(self.claim, checkpoint=None if self._repairing else message.checkpoint)
        elif isinstance(message, Expected):
            until = None if self._repairing else time.time() + message.seconds
            self.database.advance(self.claim, facts=Facts(estimated_finish=until))
        elif isinstance(message, Reported):
            self.database.heartbeat(self.claim)
            self.database.add_report(message.kind, self.claim.job.tenant, self.claim.job.id, message.data)

    def began(self, stage: Stage) -> None:
        """A stage begins."""
        self.stage = stage
        self.database.advance(self.claim, None, self._seen(_event(stage, "started")), facts=Facts(stage=stage))

    def ended(self, stage: Stage) -> None:
        """A stage has ended well. Behind the first one, the job runs."""
        if stage is Stage.VALIDATE:
            self.state = self.database.advance(self.claim, JobAction.VALIDATED, _event(stage, "completed")).state
            self.start()
        else:
            self.database.record(self.claim, self._seen(_event(stage, "completed")))

    def note(self, text: str) -> None:
        """Something for operators only."""
        self.database.record(self.claim, NewEvent(text, level="warn", private=True))

    def _seen(self, event: NewEvent) -> NewEvent:
        return replace(event, private=True) if self._repairing else event


def _event(stage: Stage, status: str) -> NewEvent:
    text = _SAID[stage] if status == "started" else f"{_SAID[stage]}: done"
    return NewEvent(text, data={"stage": stage.value, "status": status})
