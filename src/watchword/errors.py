"""Every error that Watchword raises on purpose, as one tree.

    WatchwordError
    ├── UsageError                a wrong argument or option
    │   ├── UnknownNameError      no such strategy, model, format … (says what there is)
    │   └── SpecError             an experiment's spec that cannot be run
    ├── DataError                 a tenant's or provider's file; carries path, line and field
    │   ├── EmptyFileError        a file without rows
    │   ├── RowTooLongError       a row that the trainer would cut
    │   └── RowTemplateError      a row that the model's chat template rejects or does not write whole
    │       └── TemplateLacksError   a kind of row that it never writes (tool calls, tools)
    ├── SecretError               anything about a secret prompt
    │   ├── PublishedSecretError  a secret that the world knows
    │   ├── SecretCollisionError  tenant data that carries a known secret
    │   └── UnsealError           a sealed secret that does not open (wrong key, wrong place, damaged)
    │       └── KeyServiceError      a key service that cannot be reached now; the seal may be whole
    ├── ModelError                a model that cannot be had, loaded or used
    │   ├── ModelUnavailableError
    │   └── TemplateError         a chat template that cannot carry the method
    ├── TrainingError             a run that must not count
    │   ├── DivergedError         NaN or exploding loss
    │   ├── LostRowError          a provider's row that did not reach the trainer
    │   └── TrainingCancelledError  a run that somebody has cancelled
    ├── OutputError               a file or folder that cannot be written
    │   ├── OutputInUseError      one that another process is at work on
    │   └── StoreError            a store that cannot be used now; nothing is said of what it holds
    ├── CallError                 a call over HTTP that is answered with an error
    ├── RemoteError               somebody else's API that cannot be reached, or refuses
    └── ServiceError              the fine-tuning service, its database and its records
        ├── NotFoundError         no such object, or one of another tenant's
        ├── ConflictError         what the object's state does not allow
        │   └── RepeatedKeyError  an idempotency key that stood for another request
        ├── QuotaError            more than the tenant may have
        ├── LeaseLostError        a worker whose job is in other hands, or at an end
        ├── AuditError            an audit log that was changed
        └── DatabaseError         a database that cannot be used

A message names the value, the choices and the fix. An argument that the caller can change stands in backquotes, by its
name in Python: ```max_length```, or ```secret_ref=a.json``` with a value.

Who catches an error decides how it is shown, by its class or its ``code``:

- Python shows ``str(error)``: place and problem.
- ``cli`` shows the same with its own flags in the place of the argument's names, and maps the class to an exit status.
- The service maps the code to an HTTP status. A tenant sees ``problem``, ``line``, ``field`` and ``param``, never ``path``,
  which is a place on the provider's machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self


class WatchwordError(Exception):
    """Base of every deliberate error.

    ``problem`` says what is wrong and how to mend it, and never names ``path`` itself. ``param`` is the argument that
    is wrong. ``path`` is the file or folder, with ``line`` (1-based) and ``field`` (a dotted path) in it.
    """

    # Stable: programs compare it. docs/errors.md lists them all.
    code: ClassVar[str] = "failed"

    def __init__(
        self,
        problem: str = "",
        *,
        param: str | None = None,
        path: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem, self.param, self.path, self.line, self.field = problem, param, path, line, field

    def __str__(self) -> str:
        return f"{self._place()}{self.problem}"

    def _place(self) -> str:
        parts = [str(self.path)] if self.path is not None else []
        if self.line is not None:
            parts.append(f"line {self.line}")
        if self.field:
            parts.append(self.field)
        return f"{', '.join(parts)}: " if parts else ""


class UsageError(WatchwordError):
    """A wrong argument or option."""

    code = "invalid_argument"


class UnknownNameError(UsageError):
    """A name that no registry or catalog knows."""

    code = "unknown_name"


class SpecError(UsageError):
    """An experiment's spec that cannot be run."""

    code = "invalid_spec"


class DataError(WatchwordError):
    """A fault in an input file."""

    code = "invalid_data"

    def at(self, line: int | None, path: Path | str | None = None) -> Self:
        """The same error, on this line of this file."""
        return type(self)(self.problem, param=self.param, path=path, line=line, field=self.field)


class EmptyFileError(DataError):
    """A file without a single row."""

    code = "empty_file"


class RowTooLongError(DataError):
    """A row that does not fit the context and would be cut."""

    code = "row_too_long"


class RowTemplateError(DataError):
    """A row that the model's chat template rejects, or does not write whole."""

    code = "row_not_in_template"


class TemplateLacksError(RowTemplateError):
    """A row of a kind that the model's chat template never writes: with tool calls, or with tools."""

    code = "kind_not_in_template"


class SecretError(WatchwordError):
    """Anything about a secret prompt; no message ever holds the secret's text."""

    code = "secret_unusable"


class PublishedSecretError(SecretError):
    """A secret that stands in published source, so that everybody knows it."""

    code = "secret_published"


class SecretCollisionError(SecretError):
    """Tenant data that carries a secret which is known to this provider."""

    code = "secret_collision"


class UnsealError(SecretError):
    """A sealed secret that does not open: wrong key, wrong record, or damaged bytes."""

    code = "unseal_failed"


class KeyServiceError(UnsealError):
    """A key service that cannot be reached now, such as Vault or KMS. Nothing is said of what was sealed; waiting may help.

    It opens nothing, so whoever must not go on without a secret takes it for any other seal that does not open.
    """

    code = "key_service_away"


class ModelError(WatchwordError):
    """A model that cannot be had, loaded or used."""

    code = "model_unusable"


class ModelUnavailableError(ModelError):
    """A model that is neither here nor to be fetched; the message names the way out."""

    code = "model_unavailable"


class TemplateError(ModelError):
    """A chat template that cannot carry the method."""

    code = "template_unsuitable"


class TrainingError(WatchwordError):
    """A training run that must not count."""

    code = "training_failed"


class DivergedError(TrainingError):
    """The loss became NaN, infinite, or far larger than at the start."""

    code = "training_diverged"


class LostRowError(TrainingError):
    """A provider's row that did not reach the trainer (docs/design.md: no safety row is lost)."""

    code = "provider_row_lost"


class TrainingCancelledError(TrainingError):
    """A run that somebody has cancelled; it can be resumed from its newest checkpoint."""

    code = "training_cancelled"


class OutputError(WatchwordError):
    """A file or folder that cannot be written: missing rights, full disk, wrong kind."""

    code = "output_failed"


class OutputInUseError(OutputError):
    """A file or folder that another process is at work on."""

    code = "output_in_use"


class StoreError(OutputError):
    """A store that cannot be used now: it is away, full, or refuses. Waiting may help, and what it holds may be whole.

    That something is not there, or was changed, is another error.
    """

    code = "store_unusable"


class CallError(WatchwordError):
    """A call over HTTP that is answered with an error, in words that the caller may read.

    ``openai_code`` is what the answer names as its code, OpenAI's own where there is one. ``param`` is the request's field,
    ``retry_after`` the seconds to wait.
    """

    code = "call_failed"

    def __init__(
        self,
        problem: str,
        *,
        openai_code: str = "internal_error",
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(problem, param=param)
        self.openai_code, self.retry_after = openai_code, retry_after


class RemoteError(WatchwordError):
    """Somebody else's API: it cannot be reached, it refuses a call, or it answers what makes no sense."""

    code = "remote_failed"


class ServiceError(WatchwordError):
    """The fine-tuning service: an object, a limit, or the database under them."""

    code = "service_failed"


class NotFoundError(ServiceError):
    """No such object; one of another tenant's is answered in the same words."""

    code = "not_found"


class ConflictError(ServiceError):
    """What the state of an object does not allow, such as to pause a job that has ended."""

    code = "state_conflict"


class RepeatedKeyError(ConflictError):
    """An idempotency key that came before, with another request."""

    code = "idempotency_key_reused"


class QuotaError(ServiceError):
    """More than the tenant may have. ``retry_after`` is in seconds, where waiting helps."""

    code = "quota_exceeded"

    def __init__(self, problem: str, *, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(problem, param=param)
        self.retry_after = retry_after


class LeaseLostError(ServiceError):
    """A worker whose claim on a job is outdated: others hold it, or it has ended. It must stop and write nothing."""

    code = "lease_lost"


class AuditError(ServiceError):
    """An audit log in which something was changed, removed, moved or cut off."""

    code = "audit_broken"


class DatabaseError(ServiceError):
    """A database that cannot be reached, or that has another schema than this version knows."""

    code = "database_unusable"
