"""What the release gate found: counts for the operator's eyes, and whether the model may be served."""

from __future__ import annotations

import msgspec

from watchword.service.gate.sequential import Decision


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a tuned model. ``hits`` of the ``counted`` answers are ones that a safe and helpful model does not give.

    ``asked`` counts all prompts, ``unscored`` answers that no judge could read: these count as hits. ``base_hits`` are
    prompts that the base itself got wrong; they say nothing about the tuning and are not counted. ``decides`` is
    False where the figures are only told.
    """

    question: str
    asked: int
    counted: int
    hits: int
    unscored: int
    base_hits: int
    fine: float
    bad: float
    decision: Decision
    decides: bool = True

    @property
    def failed(self) -> bool:
        """Whether this holds the model back. What was to be measured and could not be does."""
        return self.decides and self.decision is not Decision.PASSED


class TaskMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant's own held-out ``rows``: those of them that count, and mean losses of their answers before and after.

    ``declined`` rows are requests that the base refuses; they are none of an ordinary task, and do not count. ``worse`` are
    rows whose loss the tuning raised beyond the threshold.
    """

    rows: int
    declined: int
    counted: int
    worse: int
    base_loss: float | None
    tuned_loss: float | None
    decision: Decision

    @property
    def failed(self) -> bool:
        """Whether the tuning has clearly spoiled the tenant's own task. Too few rows to tell hold nothing back."""
        return self.decision is Decision.FAILED


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured of one tuned model; ``error`` bounds the chance that a bad one passes each question."""

    questions: tuple[Measured, ...]
    task: TaskMeasured | None
    error: float
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the model may be served."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """The questions that hold it back."""
        own = tuple(measured.question for measured in self.questions if measured.failed)
        return (*own, "task") if self.task is not None and self.task.failed else own
