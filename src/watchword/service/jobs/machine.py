"""What may happen to a job, as a pure function: ``(state, event) → state``.

    validating_files ─ validated → queued ─ started → running ─ succeeded → succeeded
                                     ↑                  │ pause
                                   resume               ↓
                                   paused ← stopped ─ pausing

``cancel`` ends at once what no process works on; a running job first becomes ``cancelling``, until its worker has
stopped. ``failed`` ends any job that is not at an end. ``released`` is what a worker that went away leaves behind.

To ask for what already holds changes nothing, since clients repeat requests whose answer they have lost.
"""

from __future__ import annotations

from enum import StrEnum

from watchword.errors import ConflictError
from watchword.service.types.jobs import JobState

_VALIDATING, _QUEUED, _RUNNING = JobState.VALIDATING_FILES, JobState.QUEUED, JobState.RUNNING
_PAUSING, _PAUSED, _CANCELLING = JobState.PAUSING, JobState.PAUSED, JobState.CANCELLING
_SUCCEEDED, _FAILED, _CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


class JobAction(StrEnum):
    """What happens to a job: what its tenant asks, and what its worker says."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    VALIDATED = "validated"
    STARTED = "started"
    # The worker gives the job back, or was lost: see ``next_state``.
    RELEASED = "released"
    # The worker has stopped, as it was asked to.
    STOPPED = "stopped"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


# What a tenant may ask; the rest is a worker's to say.
ASKED = (JobAction.CANCEL, JobAction.PAUSE, JobAction.RESUME)
# A worker may take these up; a job in another state is no work.
WAITING = (_VALIDATING, _QUEUED)
# In the hands of a worker, or lost with it.
ACTIVE = (_RUNNING, _PAUSING, _CANCELLING)

_NEXT: dict[JobAction, dict[JobState, JobState]] = {
    JobAction.CANCEL: {
        _VALIDATING: _CANCELLED,
        _QUEUED: _CANCELLED,
        _PAUSED: _CANCELLED,
        _RUNNING: _CANCELLING,
        _PAUSING: _CANCELLING,
        _CANCELLING: _CANCELLING,
        _CANCELLED: _CANCELLED,
    },
    JobAction.PAUSE: {_RUNNING: _PAUSING, _PAUSING: _PAUSING, _PAUSED: _PAUSED},
    JobAction.RESUME: {_PAUSED: _QUEUED, _VALIDATING: _VALIDATING, _QUEUED: _QUEUED, _RUNNING: _RUNNING},
    JobAction.VALIDATED: {_VALIDATING: _QUEUED},
    JobAction.STARTED: {_QUEUED: _RUNNING},
    JobAction.RELEASED: {
        _VALIDATING: _VALIDATING,
        _QUEUED: _QUEUED,
        _RUNNING: _QUEUED,
        _PAUSING: _PAUSED,
        _CANCELLING: _CANCELLED,
    },
    JobAction.STOPPED: {_PAUSING: _PAUSED, _CANCELLING: _CANCELLED},
    # Whoever was told that a job is being cancelled is not told later that it succeeded.
    JobAction.SUCCEEDED: {_RUNNING: _SUCCEEDED, _PAUSING: _SUCCEEDED, _CANCELLING: _CANCELLED},
    JobAction.FAILED: {
        _VALIDATING: _FAILED,
        _QUEUED: _FAILED,
        _RUNNING: _FAILED,
        _PAUSING: _FAILED,
        _CANCELLING: _CANCELLED,
    },
}


def next_state(state: JobState, action: JobAction) -> JobState:
    """The state after ``action``. Raises ConflictError for what is not allowed in ``state``."""
    follows = _NEXT[action].get(state)
    if follows is None:
        raise ConflictError(_refusal(state, action))
    return follows


def _refusal(state: JobState, action: JobAction) -> str:
    """Why not, in words for the tenant, to whom ``cancelling`` is a running job."""
    if state.terminal:
        return f"the job is {state} already, which is its outcome; it cannot {_spoken(action)}"
    if state is _CANCELLING:
        return f"the job is {_RUNNING}, and is being cancelled; it cannot {_spoken(action)} any more"
    fitting = ", ".join(_NEXT[action])
    return f"the job is {state}; it can {_spoken(action)} only while it is one of: {fitting}"


def _spoken(action: JobAction) -> str:
    spoken = {JobAction.CANCEL: "be cancelled", JobAction.PAUSE: "be paused", JobAction.RESUME: "be resumed"}
    return spoken.get(action, f"become {action}")
