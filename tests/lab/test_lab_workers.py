"""Cells side by side in processes of their own: shared out, reported, and ended together."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support.lab_runners import Dying, Failing, Noting
from watchword.errors import TrainingError, UsageError
from watchword.lab import workers
from watchword.lab.spec import Arm, Cell, Choice, Spec
from watchword.lab.store import CellResult
from watchword.lab.workers import cells_at_once, run_side_by_side

Told = tuple[int, str, int, int]


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 4)


def cells(count: int) -> list[tuple[str, Cell]]:
    spec = Spec(name="t", model="m", arms=[Arm(Choice("fj_attack"))], seeds=list(range(count)))
    return [(f"key{cell.seed}", cell) for cell in spec.cells()]


def run(runner: Any, count: int) -> tuple[dict[str, CellResult], list[Told]]:
    found: dict[str, CellResult] = {}
    told: list[Told] = []
    run_side_by_side(
        runner,
        cells(count),
        2,
        lanes=lambda lane: lambda what, done, total: told.append((lane, what, done, total)),
        label=lambda cell: f"seed {cell.seed}",
        finished=found.__setitem__,
    )
    return found, told


def test_every_cell_is_run_once_by_one_of_the_workers(tmp_path: Path) -> None:
    found, told = run(Noting(tmp_path), 5)
    assert {key: result.seed for key, result in found.items()} == {f"key{seed}": seed for seed in range(5)}
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 2
    assert {(what, done, total) for _, what, done, total in told} == {
        (f"seed {seed}: fine-tuning", 1, 2) for seed in range(5)
    }


@pytest.mark.parametrize(
    ("runner", "error", "message"),
    [(Failing(), UsageError, "seed 1 cannot be run"), (Dying(), TrainingError, "seed 1 ended with status 9")],
    ids=["failing", "dying"],
)
def test_a_cell_that_breaks_off_ends_the_others(runner: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        run(runner, 2)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("count", "at_once"), [(0, 1), (1, 1), (3, 3), (50, 4)])
def test_one_cell_for_each_core_at_most(monkeypatch: pytest.MonkeyPatch, count: int, at_once: int) -> None:
    monkeypatch.setattr(workers.shutil, "which", lambda name: None)
    monkeypatch.setattr(workers.sys, "platform", "linux")
    assert cells_at_once(count) == at_once


def test_one_cell_alone_where_an_accelerator_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert cells_at_once(50) == 1
