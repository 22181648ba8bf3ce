"""Cells side by side, each worker in a process of its own: what a cell needed is given back with the process.

On a processor, two trainings of one thread each do more work in all than one training of two threads (results/LOG.md).
Which process uses how many threads is decided where models compute: see ``models.threads``.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from watchword.errors import TrainingError, WatchwordError
from watchword.finetune.launch._process import Child
from watchword.lab.launch.base import CellRunner, Task
from watchword.lab.spec import Cell
from watchword.lab.store import CellResult
from watchword.models.cores import cores
from watchword.progress import Step

# More would hardly be faster on most machines, and each takes 1.5 GB with the default model.
MOST = 4


def cells_at_once(count: int) -> int:
    """How many of ``count`` cells to run side by side: one for each core, and one alone where an accelerator is."""
    return 1 if _accelerated() else max(1, min(count, cores(), MOST))


def run_side_by_side(
    runner: CellRunner,
    tasks: Sequence[Task],
    jobs: int,
    *,
    lanes: Callable[[int], Step],
    label: Callable[[Cell], str],
    finished: Callable[[str, CellResult], None],
) -> None:
    """Runs every task in ``jobs`` processes; ``finished`` is told each key and result as it comes.

    ``lanes(n)`` reports the steps of worker n, behind the cell's ``label``. Raises what a cell raises, as it raised it, and
    TrainingError where a worker dies; the others are then ended, too.
    """
    crew = _Crew(list(tasks), label, lanes, finished)
    with _processes(runner, jobs) as workers:
        for worker in workers:
            crew.next_task(worker)
        while busy := [worker for worker in workers if worker.task is not None]:
            for ready in wait([worker.child.pipe for worker in busy]):
                crew.hear(next(worker for worker in busy if worker.child.pipe is ready))


@dataclass
class _Worker:
    """The parent's side of one process. ``task`` is what it is busy with."""

    number: int
    child: Child
    task: Task | None = None


@dataclass
class _Crew:
    """Gives out tasks and listens."""

    tasks: list[Task]
    label: Callable[[Cell], str]
    lanes: Callable[[int], Step]
    finished: Callable[[str, CellResult], None]
    steps: dict[int, Step] = field(default_factory=dict)

    def next_task(self, worker: _Worker) -> None:
        """The next task, if there is one; else the worker rests."""
        worker.task = self.tasks.pop(0) if self.tasks else None
        if worker.task is not None:
            worker.child.tell(worker.task)

    def hear(self, worker: _Worker) -> None:
        """Takes one message of a busy worker."""
        key, cell = worker.task or ("", None)
        assert cell is not None
        try:
            message = worker.child.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise TrainingError(
                f"the process of the cell {self.label(cell)} {worker.child.how_it_ended()}; a lack of memory is "
                "the usual reason: run fewer cells at once (jobs). Finished cells are kept"
            ) from None
        if isinstance(message, WatchwordError):
            raise message
        if isinstance(message, CellResult):
            self.finished(key, message)
            self.next_task(worker)
            return
        what, done, total = message
        self.steps.setdefault(worker.number, self.lanes(worker.number))(f"{self.label(cell)}: {what}", done, total)


@contextlib.contextmanager
def _processes(runner: CellRunner, jobs: int) -> Iterator[list[_Worker]]:
    """The workers, ended whatever happens: a run that is broken off leaves no process behind."""
    workers = list[_Worker]()
    try:
        for number in range(jobs):
            workers.append(_Worker(number, Child.spawned(_work, runner)))
        yield workers
        for worker in workers:
            worker.child.tell(None)
            worker.child.process.join()
    finally:
        for worker in workers:
            worker.child.end()


def _work(pipe: Connection, runner: CellRunner) -> None:
    """A worker's life: cells as they come, until None."""

    def step(what: str, done: int, total: int) -> None:
        pipe.send((what, done, total))

    while True:
        message: Task | None = pipe.recv()
        if message is None:
            return
        key, cell = message
        try:
            result = runner.run(cell, key, step)
        except WatchwordError as error:
            pipe.send(error)
            return
        pipe.send(result)


def _accelerated() -> bool:
    """Whether training will most likely run on a GPU, without loading torch to ask."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    return apple or shutil.which("nvidia-smi") is not None
