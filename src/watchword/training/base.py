"""What the rest of Watchword asks of a trainer; torch-free, so that trainers elsewhere and fakes need no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from watchword.chat.types import Row
from watchword.secret.prompt import SecretPrompt
from watchword.training.config import TrainingConfig, TrainingResult
from watchword.training.events import Cancel, Events, never, no_events


@dataclass(frozen=True)
class TrainingTask:
    """What to train.

    ``model`` is a base model's name, as ``watchword.models.load.load`` takes it. ``folder`` receives checkpoints, and the
    weights at the end; ``resume`` goes on from its newest checkpoint. ``callbacks`` are transformers' TrainerCallbacks; a
    trainer in another process gets copies of them. ``validation`` rows are measured after each epoch and never trained on.
    """

    model: str
    rows: Sequence[Row]
    config: TrainingConfig
    folder: Path
    secret: SecretPrompt | None = field(default=None, repr=False)
    callbacks: Sequence[Any] = ()
    resume: bool = False
    validation: Sequence[Row] = ()


@dataclass(frozen=True)
class Trained:
    """A run that counts: the folder with its weights, and its figures. ``model`` holds them in memory, if anything does."""

    folder: Path
    result: TrainingResult
    model: Any = None


class Trainer(Protocol):
    """Fine-tunes somewhere: in this process, in another, on another machine."""

    @property
    def takes_loaded_models(self) -> bool:
        """Whether ``loaded`` saves work. Where it does not, callers free the model before they train."""

    def train(
        self, task: TrainingTask, *, loaded: Any = None, events: Events = no_events, cancel: Cancel = never
    ) -> Trained:
        """Trains and returns once the weights are in ``task.folder``.

        ``loaded`` is the base model in memory, if the caller has it; it may be changed. ``events`` is told in order; the last
        event is Finished or Failed. ``cancel`` is asked at least once a step: the run then ends within seconds, with a
        checkpoint if it could. Raises TrainingCancelledError then, and any other WatchwordError where the run fails.
        """
