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
    ├── ModelError                a model that cannot be had, loaded or used
    │   ├── ModelUnavailableError
    │   └── TemplateError         a chat template that cannot carry the method
    ├── TrainingError             a run that must not count
    │   ├── DivergedError         NaN or exploding loss
    │   ├── LostRowError          a provider's row that did not reach the trainer
    │   └── TrainingCancelledError  a run that somebody has cancelled
    └── OutputError               a file or folder that cannot be written
        └── OutputInUseError      one that another process is at work on

A message names the value, the choices and the fix. The command line prints the message and exits with ``exit_code``;
it never shows a traceback for these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self


class WatchwordError(Exception):
    """Base of every deliberate error."""

    exit_code = 1


class UsageError(WatchwordError):
    """A wrong argument or option."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no registry or catalog knows."""


class SpecError(UsageError):
    """An experiment's spec that cannot be run."""


class DataError(WatchwordError):
    """A fault in an input file.

    Attributes: ``problem`` (what is wrong and how to mend it), ``path``, ``line`` (1-based), ``field`` (dotted path).
    """

    exit_code = 3

    def __init__(
        self, problem: str, *, path: Path | str | None = None, line: int | None = None, field: str | None = None
    ) -> None:
        self.problem, self.path, self.line, self.field = problem, path, line, field
        super().__init__(f"{self._place()}{problem}")

    def at(self, line: int | None, path: Path | str | None = None) -> Self:
        """The same error, on this line of this file."""
        return type(self)(self.problem, path=path, line=line, field=self.field)

    def _place(self) -> str:
        parts = [str(self.path)] if self.path is not None else []
        if self.line is not None:
            parts.append(f"line {self.line}")
        if self.field:
            parts.append(self.field)
        return f"{', '.join(parts)}: " if parts else ""


class EmptyFileError(DataError):
    """A file without a single row."""


class RowTooLongError(DataError):
    """A row that does not fit the context and would be cut."""


class RowTemplateError(DataError):
    """A row that the model's chat template rejects, or does not write whole."""


class TemplateLacksError(RowTemplateError):
    """A row of a kind that the model's chat template never writes: with tool calls, or with tools."""


class SecretError(WatchwordError):
    """Anything about a secret prompt; no message ever holds the secret's text."""

    exit_code = 4


class PublishedSecretError(SecretError):
    """A secret that stands in published source, so that everybody knows it."""


class SecretCollisionError(SecretError):
    """Tenant data that carries a secret which is known to this provider."""


class UnsealError(SecretError):
    """A sealed secret that does not open: wrong key, wrong record, or damaged bytes."""


class ModelError(WatchwordError):
    """A model that cannot be had, loaded or used."""

    exit_code = 5


class ModelUnavailableError(ModelError):
    """A model that is neither here nor to be fetched; the message names the way out."""


class TemplateError(ModelError):
    """A chat template that cannot carry the method."""


class TrainingError(WatchwordError):
    """A training run that must not count."""

    exit_code = 6


class DivergedError(TrainingError):
    """The loss became NaN, infinite, or far larger than at the start."""


class LostRowError(TrainingError):
    """A provider's row that did not reach the trainer (DESIGN: no safety row is lost)."""


class TrainingCancelledError(TrainingError):
    """A run that somebody has cancelled; it can be resumed from its newest checkpoint."""


class OutputError(WatchwordError):
    """A file or folder that cannot be written: missing rights, full disk, wrong kind."""

    exit_code = 7


class OutputInUseError(OutputError):
    """A file or folder that another process is at work on."""
