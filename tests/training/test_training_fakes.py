"""The trainer that trains nothing keeps the promises of one that does, and loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from watchword.chat.types import Row, conversation
from watchword.errors import DivergedError, TrainingCancelledError
from watchword.training.base import Trainer, TrainingTask
from watchword.training.config import TrainingConfig
from watchword.training.events import Failed, Finished, LossMeasured, StepDone
from watchword.training.fakes import FakeTrainer


def task(folder: Path) -> TrainingTask:
    rows = [Row(conversation("Why?", "So.")), Row(conversation("How?", "No."), origin="safety")]
    return TrainingTask("any", rows, TrainingConfig(), folder)


def test_steps_and_losses_are_told_and_the_weights_are_there(tmp_path: Path) -> None:
    told: list[Any] = []
    trainer: Trainer = FakeTrainer(weights=b"tuned")
    trained = trainer.train(task(tmp_path), events=told.append)
    steps = [StepDone(1, 2), LossMeasured(1, 2.0), StepDone(2, 2), LossMeasured(2, 1.0)]
    assert told == [*steps, Finished(trained.result)]
    assert (tmp_path / "adapter_model.safetensors").read_bytes() == b"tuned"
    assert trained.result.rows == {"tenant": 1, "safety": 1}


def test_a_cancelled_one_ends_between_steps(tmp_path: Path) -> None:
    told: list[Any] = []
    with pytest.raises(TrainingCancelledError, match="cancelled after 1 steps"):
        FakeTrainer().train(task(tmp_path), events=told.append, cancel=lambda: len(told) > 1)
    assert [type(event) for event in told] == [StepDone, LossMeasured, Failed]
    assert not list(tmp_path.iterdir())


def test_a_failing_one_says_so_last(tmp_path: Path) -> None:
    told: list[Any] = []
    error = DivergedError("the loss is NaN")
    with pytest.raises(DivergedError):
        FakeTrainer(error=error).train(task(tmp_path), events=told.append)
    assert told[-1] == Failed(error)
