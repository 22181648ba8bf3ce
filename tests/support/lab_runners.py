"""What runs cells in a worker process of its own; a module, so that the process can import it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from support.lab_samples import cell_result
from watchword.errors import UsageError
from watchword.lab.spec import Cell
from watchword.lab.store import CellResult, Store
from watchword.progress import Step


@dataclass
class Noting:
    """Answers at once, and notes which process ran which seed."""

    folder: Path

    def run(self, cell: Cell, key: str, step: Step) -> CellResult:
        (self.folder / key).write_text(str(os.getpid()))
        step("fine-tuning", 1, 2)
        return cell_result(seed=cell.seed)


@dataclass
class Failing:
    """Raises in seed 1, as a cell with a fault does; the others take long."""

    def run(self, cell: Cell, key: str, step: Step) -> CellResult:
        if cell.seed == 1:
            raise UsageError("seed 1 cannot be run")
        time.sleep(600)
        return cell_result(seed=cell.seed)


@dataclass
class Dying:
    """Is killed in seed 1, as by a system without memory."""

    def run(self, cell: Cell, key: str, step: Step) -> CellResult:
        if cell.seed == 1:
            os._exit(9)
        time.sleep(600)
        return cell_result(seed=cell.seed)


@dataclass
class Meeting:
    """Ends a cell only once all cells have begun: so many workers there must be at once. Each notes its process."""

    folder: Path
    cells: int
    store: Store

    def elsewhere(self, store: Store) -> Meeting:
        return Meeting(self.folder, self.cells, store)

    def training_key(self, cell: Cell) -> str:
        return "0" * 64

    def asked(self, cell: Cell, trained: str) -> dict[str, str]:
        return {}

    def run(self, cell: Cell, key: str, step: Step) -> CellResult:
        (self.folder / key).write_text(str(os.getpid()))
        until = time.monotonic() + 300
        while len(list(self.folder.iterdir())) < self.cells and time.monotonic() < until:
            time.sleep(0.05)
        if cell.seed == 9:
            raise UsageError("seed 9 cannot be run")
        return self.store.put(key, cell, cell_result(seed=cell.seed), [])
