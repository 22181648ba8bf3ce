"""The tenant's curve counts its own steps and rows, whatever the provider adds."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword.service.worker.curve import COLUMNS, Curve
from watchword.service.worker.messages import Marked, Told
from watchword.training.events import CheckpointSaved, LossMeasured, StepDone, TokenFigures, ValidationMeasured


def curve(path: Path, **changes: Any) -> Curve:
    return Curve(path / "curve.json", **{"rows": 10, "batch_size": 5, "epochs": 3, "validated": False} | changes)


def trained(found: Curve, steps: int, own: Any = lambda step: True, first: int = 1) -> list[Any]:
    told: list[Any] = []
    for step in range(first, steps + 1):
        figures = TokenFigures(10, 3.0 - step / steps, 5) if own(step) else None
        for event in (StepDone(step, steps), LossMeasured(step, 9.0, figures), CheckpointSaved(step)):
            told += found.hear(event)
    return told


def rows_of(found: Curve) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(found.csv().decode())))


@pytest.mark.parametrize("steps", [6, 13, 40])
def test_the_number_of_steps_is_that_of_the_tenants_rows(tmp_path: Path, steps: int) -> None:
    found = curve(tmp_path)
    told = trained(found, steps)
    assert [message.event.data["step"] for message in told if isinstance(message, Told)] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows_of(found)] == ["1", "2", "3", "4", "5", "6"]
    assert [message.checkpoint.step for message in told if isinstance(message, Marked)] == [2, 4, 6]


def test_losses_are_those_of_the_tenants_tokens(tmp_path: Path) -> None:
    found = curve(tmp_path)
    list(found.hear(StepDone(1, 12)))
    list(found.hear(LossMeasured(1, 9.0, TokenFigures(10, 1.0, 10))))
    list(found.hear(StepDone(2, 12)))
    list(found.hear(LossMeasured(2, 9.0, TokenFigures(30, 2.0, 0))))
    (row,) = rows_of(found)
    assert tuple(row) == COLUMNS
    assert (float(row["train_loss"]), float(row["train_accuracy"])) == (1.75, 0.25)


@given(steps=st.integers(6, 60), every=st.integers(1, 4))
def test_steps_without_the_tenants_rows_leave_no_hole(
    tmp_path_factory: pytest.TempPathFactory, steps: int, every: int
) -> None:
    found = curve(tmp_path_factory.mktemp("curve"))
    trained(found, steps, own=lambda step: step % every == 0)
    assert [int(row["step"]) for row in rows_of(found)] == [1, 2, 3, 4, 5, 6]
    assert all(float(row["train_loss"]) < 4 for row in rows_of(found))


@settings(max_examples=40)
@given(
    drawn=st.randoms(use_true_random=False), rows=st.integers(1, 13), added=st.integers(0, 13), size=st.integers(1, 5)
)
def test_what_is_told_is_what_a_training_on_the_tenants_rows_alone_would_tell(
    tmp_path_factory: pytest.TempPathFactory, drawn: Any, rows: int, added: int, size: int
) -> None:
    """Whatever order the trainer takes: each step once, of as many rows as a batch has, but where an epoch ends."""
    found = curve(tmp_path_factory.mktemp("curve"), rows=rows, batch_size=size, epochs=2)
    told: list[Any] = []
    for event in shuffled(drawn, rows, added, size, epochs=2):
        told += found.hear(event)
    each = -(-rows // size)
    assert [message.event.data["step"] for message in told if isinstance(message, Told)] == [*range(1, 2 * each + 1)]
    losses = [float(row["train_loss"]) for row in rows_of(found)]
    # Each batch has a loss of its own, so that a step that was told with another's figures would show.
    assert len(set(losses)) == len(losses)


def shuffled(drawn: Any, rows: int, added: int, size: int, *, epochs: int) -> list[Any]:
    """The events of a training on the tenant's rows and ``added`` ones, in any order."""
    each, events, step = -(-(rows + added) // size), [], 0
    for _ in range(epochs):
        order = [True] * rows + [False] * added
        drawn.shuffle(order)
        for at in range(0, len(order), size):
            step, own = step + 1, sum(order[at : at + size])
            figures = TokenFigures(7 * own, 1 + step / 1000, own, own) if own else None
            events += [StepDone(step, epochs * each), LossMeasured(step, 9.0, figures)]
    return events


def test_a_resumed_job_has_the_whole_curve_and_tells_nothing_twice(tmp_path: Path) -> None:
    whole = curve(tmp_path / "whole", epochs=3) if (tmp_path / "whole").mkdir() is None else None
    assert whole is not None
    trained(whole, 12)
    broken = curve(tmp_path)
    first = [
        event
        for step in range(1, 8)
        for event in (StepDone(step, 12), LossMeasured(step, 9.0, TokenFigures(10, 3.0 - step / 12, 5)))
    ]
    told = [message for event in first for message in broken.hear(event)]
    resumed = curve(tmp_path)
    again = trained(resumed, 12, first=5)
    steps = [message.event.data["step"] for message in (*told, *again) if isinstance(message, Told)]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert rows_of(resumed) == rows_of(whole)


@given(back=st.integers(1, 15), lost=st.integers(2, 20))
def test_steps_that_are_done_again_move_the_curve_no_further(
    tmp_path_factory: pytest.TempPathFactory, back: int, lost: int
) -> None:
    """Behind lost workers a training goes on from its last checkpoint, in the process that has told of later steps."""
    found = curve(tmp_path_factory.mktemp("curve"), rows=20, batch_size=1, epochs=1)
    told: list[tuple[int, int]] = []
    for step in (*range(1, lost + 1), *range(max(lost - back, 1), 21)):
        for event in (StepDone(step, 20), LossMeasured(step, 9.0, TokenFigures(5, step / 10, 1, 1))):
            told += [(step, message.event.data["step"]) for message in found.hear(event) if isinstance(message, Told)]
    assert told == [(step, step) for step in range(1, 21)]
    assert [float(row["train_loss"]) for row in rows_of(found)] == [step / 10 for step in range(1, 21)]


def test_validation_figures_stand_at_the_end_of_each_epoch(tmp_path: Path) -> None:
    found = curve(tmp_path, validated=True)
    told: list[Any] = []
    for step in range(1, 13):
        told += [*found.hear(StepDone(step, 12)), *found.hear(LossMeasured(step, 9.0, TokenFigures(10, 1.0, 5)))]
        if step % 4 == 0:
            told += found.hear(ValidationMeasured(step, TokenFigures(4, 0.5, 1)))
    valid = {row["step"]: (row["valid_loss"], row["valid_mean_token_accuracy"]) for row in rows_of(found)}
    assert {step for step, figures in valid.items() if figures[0]} == {"2", "4", "6"}
    assert valid["6"] == ("0.5", "0.25")
    marked = [message.checkpoint for message in told if isinstance(message, Marked)]
    assert [mark.step for mark in marked] == [2, 4, 6]
    assert marked[0].metrics == {
        "step": 2.0,
        "train_loss": 1.0,
        "train_mean_token_accuracy": 0.5,
        "valid_loss": 0.5,
        "valid_mean_token_accuracy": 0.25,
    }
