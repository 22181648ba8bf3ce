"""What every launcher is: a ``watchword.training.base.Trainer`` that decides where the loop runs."""

from __future__ import annotations

from typing import Any

from watchword.registry import Registry
from watchword.training.base import Trained, TrainingTask
from watchword.training.events import Cancel, Events, never, no_events


class Launcher:
    """One file in this package is one launcher; see ``watchword.training.base.Trainer`` for what it promises."""

    takes_loaded_models: bool = False

    def train(
        self, task: TrainingTask, *, loaded: Any = None, events: Events = no_events, cancel: Cancel = never
    ) -> Trained:
        """Trains and returns once the weights are in ``task.folder``."""
        raise NotImplementedError


LAUNCHERS = Registry("launcher", Launcher, "watchword.finetune.launch")
