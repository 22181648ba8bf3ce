"""The three steps at an API: upload, create, follow. Each finds what an earlier process has done, and does it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watchword.errors import DataError, RemoteError, TrainingCancelledError, TrainingError
from watchword.files.crash import crash_point
from watchword.models.remote_calls import RefusedCallError, clean
from watchword.progress import Step, no_steps
from watchword.remote.patience import Patience
from watchword.remote.types import JobRequest, RemoteEvent, RemoteJob, RemoteJobs, Stage
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingResult
from watchword.training.events import Cancel, never

Tell = Callable[[str], None]
_FILE = "looking at the uploaded file"


def silent(text: str) -> None:
    """Tells nobody."""


@dataclass
class RemoteWork:
    """One run's work at an API. ``again`` says that an earlier process may have done some of it already."""

    jobs: RemoteJobs
    patience: Patience
    again: bool = False
    secret: SecretPrompt | None = field(default=None, repr=False)
    step: Step = no_steps
    tell: Tell = silent
    cancel: Cancel = never

    def uploaded(self, path: Path, name: str) -> str:
        """The id of the file, which is uploaded unless it is there."""
        size = path.stat().st_size

        def find() -> str | None:
            return self.jobs.find_file(name, size)

        found = self.patience.result(find) if self.again else None
        if found is None:
            crash_point("before_upload")
            found = self.patience.result(lambda: self.jobs.upload(path, name), find)
            crash_point("after_upload")
        return found

    def checked(self, file: str, label: str) -> None:
        """Waits until the API has looked at the file. Raises DataError where it finds fault with it."""
        while True:
            state = self.patience.result(lambda: self.jobs.file(file))
            if state.ready:
                return
            if state.ready is False:
                problem = clean(state.problem, self.secret)
                raise DataError(f"the API finds fault with the guarded file {file}: {problem}", path=label)
            self.step(_FILE, 0, 1)
            self.patience.sleep(self.patience.look)

    def created(self, request: JobRequest) -> RemoteJob:
        """The job of this request: the one that an earlier try has created, or a new one."""

        def find() -> RemoteJob | None:
            return self.jobs.find_job(request)

        found = self.patience.result(find) if self.again else None
        if found is None:
            crash_point("before_create")
            found = self.patience.result(lambda: self.jobs.create(request), find)
            crash_point("after_create")
        return found

    def followed(self, job: str, steps: int) -> tuple[RemoteJob, list[float]]:
        """The job once it has succeeded, and its losses. ``steps`` are those that are expected, for the progress.

        Raises TrainingError where it has failed and TrainingCancelledError where it was cancelled: here, or by others.
        """
        seen: set[str] = set()
        losses: list[float] = []
        asked = False
        while True:
            if self.cancel() and not asked:
                self.cancelled(job)
                asked = True
            # The job first, so that the events behind an end are all of them.
            now = self.patience.result(lambda: self.jobs.job(job))
            self._hear(self.patience.result(lambda: self.jobs.events(job, seen)), seen, losses, steps)
            if now.stage.ended:
                return self._ended(now), losses
            self.patience.sleep(self.patience.look)

    def cancelled(self, job: str) -> RemoteJob:
        """The job after it was told to end, or as it is if it has ended before."""
        try:
            return self.patience.result(lambda: self.jobs.cancel(job))
        except RefusedCallError:
            now = self.patience.result(lambda: self.jobs.job(job))
            if not now.stage.ended:
                raise
            return now

    def deleted(self, file: str) -> bool:
        """Removes the guarded file, which holds the secret. False where the API keeps it."""
        try:
            self.patience.result(lambda: self.jobs.delete_file(file))
        except RefusedCallError as error:
            # It is not there: somebody was quicker.
            return error.status == 404
        except RemoteError:
            return False
        return True

    def _hear(self, events: list[RemoteEvent], seen: set[str], losses: list[float], steps: int) -> None:
        for event in events:
            seen.add(event.id)
            if event.loss is not None:
                losses.append(event.loss)
            if event.step is not None:
                self.step("fine-tuning there", event.step, max(event.total or steps, event.step))
            else:
                self.tell(clean(event.message, self.secret))
            crash_point("after_event")

    def _ended(self, job: RemoteJob) -> RemoteJob:
        if job.stage is Stage.CANCELLED:
            raise TrainingCancelledError(f"the job {job.id} was cancelled")
        if job.stage is Stage.FAILED:
            why = clean(job.problem, self.secret) or "no reason was given"
            raise TrainingError(f"the job {job.id} has failed: {why}")
        if not job.model:
            raise RemoteError(f"the job {job.id} is {job.status} and names no tuned model")
        return job


def result_of(
    job: RemoteJob, losses: list[float], rows: Mapping[str, int], dropped: Mapping[str, int] | None = None
) -> TrainingResult:
    """A job that has succeeded, as a training of ours tells of itself; ``rows`` by origin, ``dropped`` by kind."""
    tokens, seconds = job.trained_tokens or 0, job.seconds or 0.0
    return TrainingResult(
        seconds=seconds,
        tokens=tokens,
        tokens_per_second=tokens / seconds if seconds else 0.0,
        steps=len(losses),
        loss=losses,
        rows=dict(rows),
        dropped=dict(dropped or {}),
    )
