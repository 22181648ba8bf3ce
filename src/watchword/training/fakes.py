"""A trainer that trains nothing, so that examples and tests of everything above run anywhere, at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from watchword.errors import TrainingCancelledError, WatchwordError
from watchword.files.atomic import replacing
from watchword.training.base import Trained, TrainingTask
from watchword.training.config import TrainingResult
from watchword.training.events import Cancel, Events, Failed, Finished, LossMeasured, StepDone, never, no_events


class FakeTrainer:
    """Leaves ``weights`` as an adapter, and tells of one step for each number in ``loss``. ``tasks`` holds what was asked.

    ``error`` is raised after the last step, as a run that fails would.
    """

    takes_loaded_models = False

    def __init__(
        self, loss: tuple[float, ...] = (2.0, 1.0), *, weights: bytes = b"weights", error: WatchwordError | None = None
    ) -> None:
        self.loss, self.weights, self.error = loss, weights, error
        self.tasks: list[TrainingTask] = []

    def train(
        self,
        task: TrainingTask,
        *,
        loaded: Any = None,  # noqa: ARG002
        events: Events = no_events,
        cancel: Cancel = never,
    ) -> Trained:
        """See ``watchword.training.base.Trainer``."""
        self.tasks.append(task)
        for step, loss in enumerate(self.loss, start=1):
            if cancel():
                raise _told(TrainingCancelledError(f"the training was cancelled after {step - 1} steps"), events)
            events(StepDone(step, len(self.loss)))
            events(LossMeasured(step, loss))
        if self.error is not None:
            raise _told(self.error, events)
        with replacing(task.folder / "adapter_model.safetensors") as stream:
            stream.write(self.weights)
        result = _result(task, self.loss)
        events(Finished(result))
        return Trained(task.folder, result)


def _told(error: WatchwordError, events: Events) -> WatchwordError:
    events(Failed(error))
    return error


def _result(task: TrainingTask, loss: tuple[float, ...]) -> TrainingResult:
    origins = Counter[str](row.origin for row in task.rows)
    return TrainingResult(
        seconds=1.0, tokens=1, tokens_per_second=1.0, steps=len(loss), loss=list(loss), rows=dict(origins)
    )
