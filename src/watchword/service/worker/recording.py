"""Writes down what a job's process says while it runs. Every write carries the claim's fence."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from watchword.service.crash import crash_point
from watchword.service.db import Database
from watchword.service.jobs.machine import JobAction
from watchword.service.types import Claim, Facts, Hyperparameters, JobState, NewEvent, Stage
from watchword.service.worker.messages import Expected, Marked, Message, Reported, StageBegan, StageEnded, Told

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
    """The record of one claim. ``stage`` is the one that runs. Raises LeaseLostError where others hold the job."""

    database: Database
    claim: Claim
    hyperparameters: Hyperparameters
    stage: Stage | None = None
    state: JobState = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.claim.job.state

    @property
    def validated(self) -> bool:
        """Whether the files have been found fit, by this worker or an earlier one."""
        return self.state is not JobState.VALIDATING_FILES

    def start(self) -> None:
        """Says that the job runs, once its files are fit and unless that was said."""
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
            self.database.record(self.claim, message.event)
        elif isinstance(message, Marked):
            self.database.record(self.claim, checkpoint=message.checkpoint)
        elif isinstance(message, Expected):
            self.database.advance(self.claim, facts=Facts(estimated_finish=time.time() + message.seconds))
        elif isinstance(message, Reported):
            self.database.heartbeat(self.claim)
            self.database.add_report(message.kind, self.claim.job.tenant, self.claim.job.id, message.data)

    def began(self, stage: Stage) -> None:
        """A stage begins."""
        self.stage = stage
        self.database.advance(self.claim, None, _event(stage, "started"), facts=Facts(stage=stage))

    def ended(self, stage: Stage) -> None:
        """A stage has ended well. Behind the first one, the job runs."""
        if stage is Stage.VALIDATE:
            self.state = self.database.advance(self.claim, JobAction.VALIDATED, _event(stage, "completed")).state
            self.start()
        else:
            self.database.record(self.claim, _event(stage, "completed"))

    def note(self, text: str) -> None:
        """Something for operators only."""
        self.database.record(self.claim, NewEvent(text, level="warn", private=True))


def _event(stage: Stage, status: str) -> NewEvent:
    text = _SAID[stage] if status == "started" else f"{_SAID[stage]}: done"
    return NewEvent(text, data={"stage": stage.value, "status": status})
