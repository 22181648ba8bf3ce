"""Runs the cells in this very process, one after the other: for looking at one with a debugger, and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.lab.launch.base import CellLauncher, Movable, Task, Told


@dataclass(frozen=True)
class InProcess(CellLauncher):
    """Nothing is started, whatever the number of jobs."""

    in_turn = True

    def run(self, runner: Movable, tasks: Sequence[Task], told: Told, jobs: int | None) -> None:  # noqa: ARG002
        for key, cell in tasks:
            told.say(told.label(cell))
            told.finished(key, runner.run(cell, key, told.lanes(0)))
