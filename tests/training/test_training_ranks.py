"""Two processes that train one model, by torch.distributed over gloo: what one process does, to rounding."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from support.engines import free_port  # noqa: E402
from support.training_samples import CONFIG, ROWS, SECRET, learner, trained, weights  # noqa: E402
from watchword.errors import TrainingCancelledError, WatchwordError  # noqa: E402
from watchword.training.config import TrainingConfig  # noqa: E402
from watchword.training.events import (  # noqa: E402
    CheckpointSaved,
    LossMeasured,
    StepDone,
    TokenFigures,
    ValidationMeasured,
)
from watchword.training.loop import fine_tune  # noqa: E402

COUNT = 2
# With three rows a batch the last of eight has two; with one row, a process has none.
SINGLE = msgspec.structs.replace(CONFIG, batch_size=1, epochs=1)
ODD = msgspec.structs.replace(CONFIG, batch_size=3)
FULL = msgspec.structs.replace(ODD, method="full")
EVEN = msgspec.structs.replace(CONFIG, batch_size=2)
CASES = {"single": SINGLE, "odd": ODD, "full": FULL}
UNSEEN = ROWS[:3]


@dataclass(frozen=True)
class Run:
    """One training: in ``folder``, of a model in ``dtype``; ``stopped_by`` is the process that is told to stop."""

    folder: str
    config: TrainingConfig
    dtype: Any = torch.float32
    stopped_by: int | None = None
    resume: bool = False

    def of(self, out: Path, rank: int) -> Any:
        """Weights, result and events of this process, or the error that ends it."""
        told: list[Any] = []
        options: dict[str, Any] = {"validation": UNSEEN, "events": told.append, "resume": self.resume}
        try:
            model, result = fine_tune(
                learner(self.dtype),
                ROWS,
                self.config,
                out=out / self.folder,
                secret=SECRET,
                cancel=lambda: rank == self.stopped_by,
                **options,
            )
        except WatchwordError as error:
            return error
        return {name: tensor.numpy() for name, tensor in weights(model).items()}, result, told


RUNS = [
    *(Run(name, config) for name, config in CASES.items()),
    Run("bfloat16", ODD, torch.bfloat16),
    Run("stopped", EVEN, stopped_by=1),
    Run("begun_alone", EVEN, resume=True),
]


def one_of(rank: int, port: int, out: Path, told: Any) -> None:
    """One process of the group, which goes through all runs."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": COUNT, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in own.items()} | {"OMP_NUM_THREADS": "1"}
    torch.distributed.init_process_group("gloo")
    try:
        told.put((rank, [run.of(out, rank) for run in RUNS]))
    finally:
        torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("both")


@pytest.fixture(scope="module")
def both(folder: Path) -> dict[str, list[Any]]:
    """What each run gave in each process. One of them goes on with what one process has begun."""
    told: list[Any] = []
    with pytest.raises(TrainingCancelledError):
        trained(folder / "begun_alone", EVEN, events=told.append, cancel=lambda: StepDone(1, 8) in told)
    assert CheckpointSaved(1) in told
    context, port = multiprocessing.get_context("spawn"), free_port()
    said = context.SimpleQueue()
    processes = [context.Process(target=one_of, args=(rank, port, folder, said)) for rank in range(COUNT)]
    for process in processes:
        process.start()
    # A process that dies takes the others along: they lose their connection to it.
    found: dict[int, Any] = {}
    while len(found) < COUNT and (any(process.is_alive() for process in processes) or not said.empty()):
        if said.empty():
            time.sleep(0.05)
        else:
            rank, results = said.get()
            found[rank] = results
    for process in processes:
        process.join()
    assert len(found) == COUNT, [process.exitcode for process in processes]
    return {run.folder: [found[rank][at] for rank in range(COUNT)] for at, run in enumerate(RUNS)}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process does, in each case."""
    found = {}
    for name, config in {**CASES, "even": EVEN}.items():
        told: list[Any] = []
        model, result = trained(tmp_path_factory.mktemp("alone"), config, events=told.append, validation=UNSEEN)
        found[name] = weights(model), result, told
    return found


@pytest.mark.parametrize("name", CASES)
def test_losses_weights_and_counts_are_those_of_one_process(name: str, both: Any, alone: Any) -> None:
    expected, figures, _ = alone[name]
    (first, result, _), (other, also, _) = both[name]
    assert result.loss == pytest.approx(figures.loss, rel=1e-4)
    assert also.loss == result.loss
    same = ("tokens", "rows", "trained", "labelled", "steps")
    assert [getattr(result, field) for field in same] == [getattr(figures, field) for field in same]
    for key, tensor in expected.items():
        torch.testing.assert_close(torch.from_numpy(first[key]), tensor, rtol=1e-2, atol=1e-3)
        torch.testing.assert_close(torch.from_numpy(other[key]), torch.from_numpy(first[key]), rtol=0, atol=0)


@pytest.mark.parametrize("name", CASES)
def test_the_first_process_tells_what_one_process_tells(name: str, both: Any, alone: Any) -> None:
    (_, _, told), (_, _, silent) = both[name]
    assert silent == []
    expected = alone[name][2]
    assert [type(event) for event in told] == [type(event) for event in expected]
    for found, wanted in zip(map(figures_in, told), map(figures_in, expected), strict=True):
        assert (found is None) == (wanted is None)
        if found is not None and wanted is not None:
            assert (found.tokens, found.correct) == (wanted.tokens, wanted.correct)
            assert found.loss == pytest.approx(wanted.loss, rel=1e-4)


def figures_in(event: Any) -> TokenFigures | None:
    if isinstance(event, ValidationMeasured):
        return event.figures
    return event.tenant if isinstance(event, LossMeasured) else None


def test_in_bfloat16(both: Any, alone: Any) -> None:
    (_, result, _), _ = both["bfloat16"]
    assert result.loss == pytest.approx(alone["odd"][1].loss, rel=2e-2)


def test_whoever_is_told_to_stop_stops_all_with_a_checkpoint_for_any_number_of_processes(
    both: Any, alone: Any, folder: Path
) -> None:
    assert [type(error) for error in both["stopped"]] == [TrainingCancelledError] * COUNT
    wanted = alone["even"][1].loss
    _, resumed = trained(folder / "stopped", EVEN, resume=True)
    assert resumed.loss == pytest.approx(wanted, rel=1e-4)
    (_, again, _), _ = both["begun_alone"]
    assert again.loss == pytest.approx(wanted, rel=1e-4)
