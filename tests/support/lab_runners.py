"""What runs cells in a worker process of its own; a module, so that the process can import it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from support.lab_samples import cell_result
from watchword.errors import UsageError
from watchword.lab.spec import Cell
from watchword.lab.store import CellResult
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
