"""Trains in a process of its own, which gives all memory back when it ends; several trainings may run side by side.

Parent and child talk over one pipe. The child sends ``watchword.training.events``; the parent sends the task, and later the
word to cancel. The secret goes the same way: it never stands in an argument list or in the environment. When the parent
dies, its end of the pipe closes, and the child ends itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from watchword.errors import TrainingCancelledError, TrainingError, UsageError, WatchwordError
from watchword.finetune.launch._process import Child
from watchword.finetune.launch.base import Launcher
from watchword.secret.prompt import SecretPrompt
from watchword.training.base import Trained, TrainingTask
from watchword.training.events import Cancel, Events, Failed, Finished, TrainingEvent, never, no_events

# Seconds between two looks at whether the run was cancelled.
_PAUSE = 0.2
_CANCEL = "cancel"


class ChildProcess(Launcher):
    """One child for each training. A cancelled one that takes more than ``grace`` seconds is killed."""

    def __init__(self, grace: float = 30.0) -> None:
        self.grace = grace

    def train(
        self,
        task: TrainingTask,
        *,
        loaded: Any = None,  # noqa: ARG002
        events: Events = no_events,
        cancel: Cancel = never,
    ) -> Trained:
        """See ``watchword.training.base.Trainer``. The child loads the model itself."""
        order = _packed(task)
        child = Child.spawned(self._in_the_child())
        try:
            child.tell(order)
            last = self._last_event(child, events, cancel)
            child.wait()
        finally:
            child.end()
        events(last)
        if isinstance(last, Failed):
            raise last.error
        return Trained(task.folder, last.result)

    def _in_the_child(self) -> Callable[[Connection], None]:
        """What the child runs: it gets the order from the pipe, and tells of the training there."""
        return _work

    def _last_event(self, child: Child, events: Events, cancel: Cancel) -> Finished | Failed:
        """Passes on what the child tells, until it has ended."""
        told_at: float | None = None
        while True:
            if child.pipe.poll(_PAUSE):
                event = _heard(child)
                if isinstance(event, Finished | Failed):
                    return event
                events(event)
            if told_at is None and cancel():
                child.tell(_CANCEL)
                told_at = time.monotonic()
            if told_at is not None and time.monotonic() - told_at > self.grace:
                return Failed(
                    TrainingCancelledError(
                        f"the training was cancelled and killed after {self.grace:g} s; its last checkpoint is kept"
                    )
                )


def _heard(child: Child) -> TrainingEvent:
    """The next event; the death of the child is one, too."""
    try:
        event: TrainingEvent = child.pipe.recv()
    except (EOFError, OSError):
        return Failed(
            TrainingError(
                f"the training's process {child.how_it_ended()}; a lack of memory is the usual reason: lower "
                "`batch_size` or `max_length`, or run fewer trainings at once. A run that has saved a checkpoint can be resumed"
            )
        )
    return event


@dataclasses.dataclass(frozen=True)
class _Secret:
    """A secret in the open, for the pipe alone: a SecretPrompt masks itself when it is pickled."""

    text: str = dataclasses.field(repr=False)
    told: dict[str, Any]

    @classmethod
    def of(cls, secret: SecretPrompt) -> _Secret:
        told = {"kind": secret.kind, "tokens": secret.tokens, "entropy_bits": secret.entropy_bits}
        return cls(secret.reveal(), told)


def _packed(task: TrainingTask) -> tuple[TrainingTask, _Secret | None]:
    """What the child needs. Raises UsageError for callbacks that cannot travel."""
    try:
        pickle.dumps(task.callbacks)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise UsageError(
            f"these training hooks cannot travel to another process ({error}); use `launcher=in_process`",
            param="launcher",
        ) from None
    open_task = dataclasses.replace(task, secret=None)
    return open_task, _Secret.of(task.secret) if task.secret is not None else None


def unpacked(order: tuple[TrainingTask, _Secret | None]) -> TrainingTask:
    """The task, with its secret again, in another process."""
    task, secret = order
    return task if secret is None else dataclasses.replace(task, secret=SecretPrompt(secret.text, **secret.told))


def cancelled_by(pipe: Connection) -> threading.Event:
    """Set once the word to cancel comes. From now on this process ends when its parent has gone."""
    cancelled = threading.Event()
    threading.Thread(target=_obey, args=(pipe, cancelled), daemon=True).start()
    return cancelled


def _work(pipe: Connection) -> None:
    """The child's life: one task."""
    task = unpacked(pipe.recv())
    cancelled = cancelled_by(pipe)
    # Here, since it loads torch, which the parent does not need.
    from watchword.finetune.launch.in_process import InProcess

    # An error of ours is the last event, and the parent raises it.
    with contextlib.suppress(WatchwordError):
        InProcess().train(task, events=pipe.send, cancel=cancelled.is_set)


def _obey(pipe: Connection, cancelled: threading.Event) -> None:
    """Hears the word to cancel; ends this process when the parent is gone."""
    try:
        while pipe.recv() == _CANCEL:
            cancelled.set()
    except (EOFError, OSError):
        os._exit(1)
