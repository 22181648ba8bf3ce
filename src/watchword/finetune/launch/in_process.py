"""Trains in this process: the least overhead, and the tuned model stays in memory."""

from __future__ import annotations

from typing import Any

from watchword.errors import WatchwordError
from watchword.finetune.launch.base import Launcher
from watchword.models.load import load
from watchword.training.base import Trained, TrainingTask
from watchword.training.events import Cancel, Events, Failed, Finished, never, no_events
from watchword.training.loop import fine_tune


class InProcess(Launcher):
    """The loop itself. A model that is handed over is changed; without one, the base is loaded."""

    takes_loaded_models = True

    def train(
        self, task: TrainingTask, *, loaded: Any = None, events: Events = no_events, cancel: Cancel = never
    ) -> Trained:
        """See ``watchword.training.base.Trainer``."""
        try:
            tuned, result = fine_tune(
                loaded if loaded is not None else load(task.model),
                task.rows,
                task.config,
                out=task.folder,
                secret=task.secret,
                callbacks=task.callbacks,
                events=events,
                cancel=cancel,
                resume=task.resume,
                validation=task.validation,
            )
        except WatchwordError as error:
            events(Failed(error))
            raise
        events(Finished(result))
        return Trained(task.folder, result, tuned)
