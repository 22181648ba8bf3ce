"""What a tenant is told of a job that failed: what it can change, in words without paths, and nothing of the defense."""

from __future__ import annotations

import traceback

from watchword.errors import DivergedError, SecretCollisionError
from watchword.service.types.jobs import JobError
from watchword.service.worker.checks import REFUSED, JobRefusedError
from watchword.service.worker.messages import Refused

INTERNAL = JobError("internal_error", "The job could not be finished on our side. Create it again.")
# In the words in which a provider without a defense would say it.
WITHHELD = JobError("model_withheld", "The model was withheld after its evaluation under the usage policy.")
_DIVERGED = JobError(
    "training_diverged",
    "The loss grew without bounds. Lower learning_rate_multiplier, or raise batch_size.",
    "hyperparameters.learning_rate_multiplier",
)


def last_word_of(error: Exception) -> Refused:
    """The job's end by this error. A fault that validation has not found may be in a row of the provider's, so it is internal."""
    detail = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, JobRefusedError):
        return Refused(error.error, error.detail)
    if isinstance(error, SecretCollisionError):
        return Refused(REFUSED, detail)
    if isinstance(error, DivergedError):
        return Refused(_DIVERGED, detail)
    return Refused(INTERNAL, "".join(traceback.format_exception(error)).strip())
