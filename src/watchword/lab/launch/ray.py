"""Runs cells as tasks of a Ray cluster, each with the processors and accelerators that it asks for.

A task works in a folder of its own machine. What was kept of its cell travels there, and what it finished comes back: the
machines need no folder in common. They need Watchword, the model, and the files that a spec names by path.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchword.errors import TrainingError, UsageError, WatchwordError
from watchword.files.folders import PRIVATE_FOLDER, atomic_folder
from watchword.files.writing import writing
from watchword.lab.kept import EXCHANGES
from watchword.lab.launch.base import CellLauncher, Movable, Task, Told
from watchword.lab.spec import Cell
from watchword.lab.store import BUILDING, CELLS, KEPT, CellResult, Store
from watchword.progress import no_steps

# A lost machine's cells are run again so often, elsewhere.
_RETRIES = 2


@dataclass(frozen=True)
class Ray(CellLauncher):
    """``cpus`` and ``gpus`` are what each cell takes of the cluster at ``address`` (None: ``RAY_ADDRESS``, or this machine)."""

    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.cpus <= 0 or self.gpus < 0:
            raise UsageError(f"ray: cpus is {self.cpus} and gpus {self.gpus}; a cell takes more than 0 and at least 0")

    def run(self, runner: Movable, tasks: Sequence[Task], told: Told, jobs: int | None) -> None:
        with _cluster(self.address) as ray:
            work = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=_RETRIES)(_work)
            waiting, busy = list(tasks), dict[Any, Task]()
            while waiting or busy:
                while waiting and (jobs is None or len(busy) < jobs):
                    key, cell = task = waiting.pop(0)
                    kept = packed(runner.store.root, _kept(runner, cell))
                    busy[work.remote(runner.elsewhere(Store(".")), task, kept)] = task
                told.lanes(0)("cells on the cluster", len(tasks) - len(waiting) - len(busy), len(tasks))
                (ready, *_), _ = ray.wait(list(busy), num_returns=1)
                key, cell = busy.pop(ready)
                told.finished(key, self._fetched(ray, ready, told.label(cell), runner.store))

    def _fetched(self, ray: Any, ready: Any, label: str, store: Store) -> CellResult:
        try:
            result, whole = ray.get(ready)
        except ray.exceptions.RayError as error:
            raise TrainingError(
                f"the cell {label} was lost on the cluster: {_last_line(error)}. Where memory is short, give each cell more "
                "cpus, so that fewer run at once. Finished cells are kept"
            ) from error
        if isinstance(result, WatchwordError):
            raise result
        unpacked(whole, store.root)
        found: CellResult = result
        return found


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def packed(root: Path, paths: Sequence[str]) -> bytes:
    """Those of the files and folders below ``root`` that there are, as an archive."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for path in paths:
            if (root / path).exists():
                archive.add(root / path, arcname=path)
    return whole.getvalue()


def unpacked(whole: bytes, root: Path) -> None:
    """Puts an archive's cells, kept trainings and answers below ``root``, each at once; what stands there already stays."""
    with atomic_folder(root, BUILDING, mode=PRIVATE_FOLDER) as folder:
        with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
            archive.extractall(folder, filter="data")
        for path in sorted(folder.glob("*/*")):
            target = root / path.relative_to(folder)
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    path.rename(target)


def _kept(runner: Movable, cell: Cell) -> list[str]:
    """Where what was kept of a cell stands, if anything was: its training, and the answers to its benchmarks."""
    trained = runner.training_key(cell)
    return [f"{KEPT}/{trained}", *(f"{EXCHANGES}/{name}.jsonl" for name in runner.asked(cell, trained).values())]


def _work(runner: Movable, task: Task, kept: bytes) -> tuple[CellResult | WatchwordError, bytes]:
    """A task's life: one cell, in a folder that is gone afterwards."""
    key, cell = task
    with tempfile.TemporaryDirectory(prefix="watchword-cell-") as name:
        root = Path(name)
        unpacked(kept, root)
        try:
            result = runner.elsewhere(Store(root)).run(cell, key, no_steps)
        except WatchwordError as error:
            return error, b""
        return result, packed(root, [CELLS, KEPT, EXCHANGES])


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Ray, connected; a cluster that was not there before is ended."""
    try:
        import ray
    except ImportError:
        raise UsageError("cells on a cluster need Ray: pip install ray", param="launcher") from None
    own = not ray.is_initialized()
    if own:
        ray.init(address=address, log_to_driver=False)
    try:
        yield ray
    finally:
        if own:
            ray.shutdown()
