"""How a job ends: its release is published first, then one transaction makes the outcome known, then the rest is removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from watchword.errors import ConflictError, LeaseLostError, WatchwordError
from watchword.files.addresses import Address
from watchword.files.folders import discard
from watchword.service.crash import crash_point
from watchword.service.db import Database
from watchword.service.logs import log
from watchword.service.settings import ServiceSettings
from watchword.service.storage import Blobs
from watchword.service.types.files import NewFile
from watchword.service.types.jobs import Failed, Job, JobError, JobState, Outcome, Stage, Stopped, Succeeded
from watchword.service.types.models import NewModel
from watchword.service.worker.messages import Ended, Halted, Held, Refused, Tuned
from watchword.service.worker.publishing import folder_name, publish, retract, retract_others
from watchword.service.worker.recording import Recorder
from watchword.service.worker.refusals import WITHHELD

T = TypeVar("T")


class Patiently(Protocol):
    """Does something that needs a store, again where that is away. Raises StoreError where it gives up."""

    def __call__(self, action: Callable[[], T], /) -> T:
        """What the action gives."""


_DONE = ".done-"
_REPLACED = JobError("model_not_found", "The model was deleted or renewed while this job ran.", "model")


@dataclass
class Ending:
    """Gives the last word of one claim's process its effect. What needs a store is done ``patiently``."""

    settings: ServiceSettings
    blobs: Blobs
    recorder: Recorder
    folder: Path
    patiently: Patiently
    _place: Address | None = field(init=False, default=None)

    def finish(self, last: Ended) -> Job:
        """Publishes, says so in one transaction, and removes what nobody needs any more. Raises LeaseLostError, StoreError."""
        outcome, place = self._outcome(last)
        crash_point("before_finish")
        job = self._said(outcome, place)
        crash_point("after_finish")
        if job.state.terminal:
            discard(self.folder, _DONE)
        _tidied(retract if job.state is JobState.CANCELLED else retract_others, place)
        return job

    def _said(self, outcome: Outcome, place: Address | None) -> Job:
        """Makes the outcome known. What was published and nobody will serve is removed."""
        database, claim = self.recorder.database, self.recorder.claim
        try:
            return database.finish(claim, outcome)
        except LeaseLostError:
            _tidied(retract, place)
            raise
        except ConflictError:
            # The model that was to be replaced is gone, or was renewed by another job.
            _tidied(retract, place)
            return database.finish(claim, Failed(_REPLACED))

    def _outcome(self, last: Ended) -> tuple[Outcome, Address | None]:
        if isinstance(last, Halted):
            # It may have been published before it was asked to stop.
            return Stopped(), self._place
        if isinstance(last, Refused):
            if last.detail:
                self.recorder.note(last.detail)
            return Failed(last.error), None
        model, place = self._published(last)
        if isinstance(last, Held):
            return Failed(WITHHELD, model), place
        return Succeeded(model, last.trained_tokens, self._result(last.curve)), place

    def _published(self, last: Tuned | Held) -> tuple[NewModel, Address]:
        """The release at a place of this claim's own: no lost worker can write where another has published."""
        name, version = model_of(self._job, self.recorder.database)
        folder = self.settings.release_place.below(folder_name(name))
        self._place = place = folder.below(f"v{version}-{self._job.short}-{self.recorder.claim.fence}")
        self.recorder.began(Stage.SERVE)
        crash_point("before_publish")
        self.patiently(lambda: publish(last.release, place))
        crash_point("after_publish")
        self.recorder.ended(Stage.SERVE)
        return NewModel(name, self._job.model, place.whole, last.weights_digest, version), place

    def _result(self, curve: bytes) -> NewFile:
        blob = self.patiently(lambda: self.blobs.put(curve))
        return NewFile("fine-tune-results", "step_metrics.csv", blob.bytes, blob.sha256, blob.name)

    @property
    def _job(self) -> Job:
        return self.recorder.claim.job


def model_of(job: Job, database: Database) -> tuple[str, int]:
    """What the tenant calls the model, and which secret of it this is.

    Raises NotFoundError where the model that is to be renewed is gone.
    """
    renewed = 1 if job.replaces is None else database.model(job.tenant, job.replaces).version + 1
    return job.model_name, renewed


def _tidied(remove: Callable[[Address], None], place: Address | None) -> None:
    """Removes what nobody will serve, if anything was published.

    A store that is away keeps no job from its outcome: the housekeeping removes it later.
    """
    try:
        if place is not None:
            remove(place)
    except WatchwordError as error:
        log.warning({"event": "release is not removed", "kind": type(error).__name__})
