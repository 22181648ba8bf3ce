"""What every launcher of cells is: tasks and a runner in, results as they come."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from watchword.lab.spec import Cell
from watchword.lab.store import CellResult, Store
from watchword.progress import Step
from watchword.registry import Registry

# A cell's key, and the cell.
Task = tuple[str, Cell]


class CellRunner(Protocol):
    """What runs a cell and stores it; made in the parent, so it must travel: see ``runner.Bench``."""

    def run(self, cell: Cell, key: str, step: Step) -> CellResult: ...


class Movable(CellRunner, Protocol):
    """A runner that can work on another machine, where the store is another one."""

    @property
    def store(self) -> Store:
        """Where finished cells are put, and where what was kept stands."""

    def elsewhere(self, store: Store) -> Any:
        """The same with another store."""

    def training_key(self, cell: Cell) -> str:
        """Under which what is kept of the cell's training stands."""

    def asked(self, cell: Cell, trained: str) -> dict[str, str]:
        """Under which the answers to each of its benchmarks stand, of a training with this key."""


@dataclass(frozen=True)
class Told:
    """To whom a launcher reports. ``lanes(n)`` takes the steps of the n-th cell at once, behind the cell's ``label``.

    ``finished`` takes each key and result as it comes, ``say`` a line that stays.
    """

    lanes: Callable[[int], Step]
    label: Callable[[Cell], str]
    finished: Callable[[str, CellResult], None]
    say: Callable[[str], None]


class CellLauncher(abc.ABC):
    """One file in this package is one launcher: a frozen dataclass whose fields are its parameters.

    ``in_turn``: whether it runs one cell after the other, which is then done in the spec's order.
    """

    in_turn: ClassVar[bool] = False

    @abc.abstractmethod
    def run(self, runner: Movable, tasks: Sequence[Task], told: Told, jobs: int | None) -> None:
        """Runs every task, ``jobs`` at once; None: as many as there is room for.

        Finished cells stay whatever happens. Raises what a cell raises, and TrainingError where its process dies; the
        others are then ended, too.
        """


CELL_LAUNCHERS: Registry[CellLauncher] = Registry("launcher", CellLauncher, "watchword.lab.launch")  # type: ignore[type-abstract]
