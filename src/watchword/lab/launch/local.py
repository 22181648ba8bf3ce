"""Runs cells on this machine, each in a process of its own, several at once where there are cores for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchword.lab.launch.base import CellLauncher, Movable, Task, Told
from watchword.lab.workers import cells_at_once, run_side_by_side


@dataclass(frozen=True)
class Local(CellLauncher):
    """No training runs in the process that was called: what one needs is given back, and what kills one kills no other."""

    def run(self, runner: Movable, tasks: Sequence[Task], told: Told, jobs: int | None) -> None:
        at_once = min(jobs or cells_at_once(len(tasks)), len(tasks))
        run_side_by_side(runner, tasks, at_once, lanes=told.lanes, label=told.label, finished=told.finished)
