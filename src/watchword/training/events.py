"""What a training tells while it runs, as values: the same from every trainer, wherever it computes. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from watchword.errors import WatchwordError
from watchword.training.config import TrainingResult


@dataclass(frozen=True)
class StepDone:
    """``step`` optimiser steps of ``total`` are done."""

    step: int
    total: int


@dataclass(frozen=True)
class TokenFigures:
    """Over so many labelled ``tokens``: the mean cross-entropy, and how many of them the model would have chosen itself.

    ``rows`` is how many rows they are of, 0 where that was not counted.
    """

    tokens: int
    loss: float
    correct: int
    rows: int = 0

    @property
    def accuracy(self) -> float:
        """The share of tokens that the model would have chosen."""
        return self.correct / self.tokens


@dataclass(frozen=True)
class LossMeasured:
    """The training loss of one step; ``tenant`` is that of the tenant's own rows in it, None where there were none."""

    step: int
    loss: float
    tenant: TokenFigures | None = None


@dataclass(frozen=True)
class ValidationMeasured:
    """The figures of the validation rows after so many steps."""

    step: int
    figures: TokenFigures


@dataclass(frozen=True)
class CheckpointSaved:
    """A run that ends now can go on from this step."""

    step: int


@dataclass(frozen=True)
class Finished:
    """The weights are in the folder; the last event of a run that counts."""

    result: TrainingResult


@dataclass(frozen=True)
class Failed:
    """The last event of a run that does not count; TrainingCancelledError where it was cancelled."""

    error: WatchwordError


TrainingEvent = StepDone | LossMeasured | ValidationMeasured | CheckpointSaved | Finished | Failed
Events = Callable[[TrainingEvent], None]
# Asked between steps: whether the run should end.
Cancel = Callable[[], bool]


def no_events(event: TrainingEvent) -> None:
    """Tells nobody."""


def never() -> bool:
    """A run that nobody cancels."""
    return False
