"""One job in the hands of this worker: its process is started, heard and ended.

Once the claim is lost nothing is written any more, and the process is killed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from watchword.errors import DataError, LeaseLostError, NotFoundError, OutputError, StoreError
from watchword.files.folders import PRIVATE_FOLDER
from watchword.files.writing import writing
from watchword.finetune.launch._process import Child
from watchword.service.crash import crash_point
from watchword.service.db import Database
from watchword.service.settings import Policy, ServiceSettings
from watchword.service.storage import Blobs
from watchword.service.types.jobs import Claim, Job, JobError, Stage
from watchword.service.types.models import release_owner
from watchword.service.worker.checks import JobRefusedError
from watchword.service.worker.ending import Ending, model_of
from watchword.service.worker.heart import Heart
from watchword.service.worker.hyperparameters import resolved
from watchword.service.worker.known import KnownReleases
from watchword.service.worker.messages import STOP, Away, Halted, Last, Message, Order, Refused
from watchword.service.worker.outages import StoreOutages
from watchword.service.worker.recording import Recorder
from watchword.service.worker.refusals import INTERNAL, last_word_of

# How long a training may take to end behind its step with a checkpoint, before its process is killed.
GRACE_SECONDS = 20.0
# For how long a finished training is held until it can be published. Then others may try, who might have to train it again.
HOLD_SECONDS = 600.0
_LOOK_SECONDS = 0.1
# Processes of one job that may die, one after the other, in the hands of one worker.
_MOST_DEATHS = 3


T = TypeVar("T")


class _DiedError(Exception):
    """The job's process ended without a last word."""


@dataclass
class Attending:
    """What one worker does for one job. ``target`` is what the job's process runs; ``stopping`` tells that this worker ends."""

    settings: ServiceSettings
    database: Database
    blobs: Blobs
    key: bytes = field(repr=False)
    claim: Claim
    target: Callable[..., None]
    stopping: Callable[[], bool]
    known: KnownReleases
    outages: StoreOutages

    def __post_init__(self) -> None:
        self._heart = Heart(self.database, self.claim)
        self._recorder = Recorder(self.database, self.claim, self._job.hyperparameters)

    def run(self) -> None:
        """Takes the job as far as it goes: to its outcome, to a pause, or back into the queue.

        A StoreError has given the job back. What else is raised here leaves it to the next worker, once the lease has run out.
        """
        self._heart.start()
        try:
            # Whoever holds the job now does all that is to be done.
            with contextlib.suppress(LeaseLostError):
                self._run()
        finally:
            self._heart.stop()

    def _run(self) -> None:
        try:
            self._end(self._last_word())
        except StoreError as error:
            with contextlib.suppress(LeaseLostError):
                self.database.release(self.claim, str(error))
            raise

    def _end(self, last: Last) -> None:
        if isinstance(last, Away):
            self.outages.writing.failed(last.why, self._job.id)
            raise StoreError(last.why)
        if isinstance(last, Halted) and not self._heart.asked_to_stop:
            self.database.release(self.claim)
            return
        ending = Ending(self.settings, self.blobs, self._recorder, self._folder, self._patiently)
        try:
            ending.finish(last)
        except StoreError:
            if not self._heart.asked_to_stop:
                raise
            ending.finish(Halted())

    def _patiently(self, action: Callable[[], T]) -> T:
        """Does it again until the store can be used: what was trained is here, and elsewhere it would be trained again.

        Raises StoreError once that takes too long, or this worker or the job is to stop.
        """
        until = time.monotonic() + HOLD_SECONDS
        while True:
            try:
                done = action()
            except StoreError as error:
                pause = self.outages.writing.failed(str(error), self._job.id)
                if time.monotonic() + pause > until or not self._waited(pause):
                    raise
            else:
                self.outages.writing.worked()
                return done

    def _waited(self, seconds: float) -> bool:
        """Whether there is reason to go on after so many seconds. Raises LeaseLostError."""
        until = time.monotonic() + seconds
        while not (self.stopping() or self._heart.asked_to_stop):
            if self._heart.lost:
                raise LeaseLostError(f"the job {self._job.id} is in other hands")
            if time.monotonic() >= until:
                return True
            time.sleep(_LOOK_SECONDS)
        return False

    def _last_word(self) -> Last:
        """Runs the job's process, and again where it dies: it goes on from the job's folder."""
        try:
            self._recorder.hyperparameters = resolved(self._job.hyperparameters, self._policy())
            with self._files() as (training, validation):
                for death in range(1, _MOST_DEATHS + 1):
                    try:
                        return self._heard(training, validation)
                    except _DiedError as error:
                        self._recorder.note(f"the job's process {error} ({death} of {_MOST_DEATHS})")
        except (JobRefusedError, NotFoundError, DataError) as error:
            return last_word_of(error)
        except OutputError as error:
            # This machine's disk, where it is no store: another worker may have room.
            self.outages.reading.failed(str(error), self._job.id)
            raise StoreError(str(error)) from error
        return Refused(INTERNAL, "the job's process died again and again")

    def _heard(self, training: Path, validation: Path | None) -> Last:
        """Everything that one process says, up to its last word."""
        # Before a process is started: it needs a store.
        order = self._order(training, validation)
        self.outages.reading.worked()
        self._recorder.start()
        child = Child.spawned(self.target)
        try:
            child.tell(order)
            crash_point("after_child_started")
            last = self._listened(child)
            if not isinstance(last, Halted):
                child.wait()
        finally:
            child.end()
        return last

    def _listened(self, child: Child) -> Last:
        asked_at: float | None = None
        while True:
            if self._heart.lost:
                raise LeaseLostError(f"the job {self._job.id} is in other hands")
            if child.pipe.poll(_LOOK_SECONDS):
                message = _received(child)
                if isinstance(message, Last):
                    return message
                self._recorder.write(message)
                crash_point("after_event")
            if asked_at is None and (self._heart.asked_to_stop or self.stopping()):
                asked_at = time.monotonic()
                child.tell(STOP)
            if asked_at is not None and self._waited_enough(asked_at):
                return Halted()

    def _waited_enough(self, asked_at: float) -> bool:
        """Only a training has something to keep; whatever else was being done is done again."""
        training = self._recorder.stage is Stage.TRAIN and not self._heart.cancelled
        return not training or time.monotonic() - asked_at > GRACE_SECONDS

    @contextlib.contextmanager
    def _files(self) -> Iterator[tuple[Path, Path | None]]:
        """The job's files on this machine, and a folder of its own. Raises NotFoundError where a file is gone."""
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        with contextlib.ExitStack() as held:
            places = [
                held.enter_context(self.blobs.local(self.database.job_file(self._job.tenant, file).blob))
                for file in (self._job.training_file, self._job.validation_file)
                if file is not None
            ]
            yield places[0], places[1] if len(places) > 1 else None

    def _order(self, training: Path, validation: Path | None) -> Order:
        known = self.known.secrets()
        return Order(
            job_id=self._job.id,
            model=self._job.model,
            policy=self._policy(),
            hyperparameters=self._recorder.hyperparameters,
            seed=self._job.seed,
            training_file=training,
            validation_file=validation,
            folder=self._folder,
            answers=self.settings.data / "gate",
            launcher=self.settings.worker.launcher,
            launcher_arguments=self.settings.worker.launcher_arguments,
            validated=self._recorder.validated,
            key=self.key,
            owner=release_owner(self._job.tenant, *model_of(self._job, self.database)),
            known=known.texts,
            unseen=known.unseen,
        )

    def _policy(self) -> Policy:
        """The policy that holds for the job's base today. Raises JobRefusedError for a base that is not offered any more."""
        found = self.settings.policies.get(self._job.model)
        if found is None:
            message = f"The model {self._job.model} can no longer be fine-tuned."
            raise JobRefusedError(JobError("model_not_available", message, "model"))
        return found

    @property
    def _job(self) -> Job:
        """The job as it was when it was claimed."""
        return self.claim.job

    @property
    def _folder(self) -> Path:
        """The job's own folder on this machine."""
        return self.settings.work / self._job.id


def _received(child: Child) -> Message:
    """The next message. Raises _DiedError where none will come."""
    try:
        message: Message = child.pipe.recv()
    except (EOFError, OSError):
        raise _DiedError(child.how_it_ended()) from None
    return message
