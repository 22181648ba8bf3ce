"""Trainings as Ray Train jobs on a cluster of two workers: what one process does, with workers that are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch")

from support.cli_samples import leaks
from support.ray_cluster import ray_cluster, ray_workers
from support.slow_upload import SlowUpload
from support.tiny import saved
from support.training_samples import CONFIG, ROWS, SECRET
from watchword.errors import RowTooLongError, TrainingCancelledError, TrainingError, UsageError
from watchword.finetune.launch.base import LAUNCHERS
from watchword.training.base import TrainingTask
from watchword.training.config import TrainingConfig
from watchword.training.events import CheckpointSaved, Failed, Finished, LossMeasured, StepDone

SECONDS = 600
# Models are loaded in bfloat16 where the processor has it; in float32, tests/training/test_training_ranks.py is strict.
ROUNDING = 1e-2
WEIGHTS = "adapter_model.safetensors"
ON_RAY = [pytest.mark.integration, pytest.mark.peers("ray"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved(tmp_path_factory.mktemp("models") / "base"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with ray_cluster() as address:
        yield address


def task(base: str, folder: Path, config: TrainingConfig = CONFIG, **options: Any) -> TrainingTask:
    return TrainingTask(base, ROWS, config, folder, SECRET, **options)


def losses(told: list[Any]) -> list[float]:
    return [event.loss for event in told if isinstance(event, LossMeasured)]


def assert_within(seconds: float, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


def test_arguments_are_checked_before_anything_starts() -> None:
    with pytest.raises(UsageError, match="workers is 0"):
        LAUNCHERS.create("ray", workers=0)
    with pytest.raises(UsageError, match="it takes"):
        LAUNCHERS.create("ray", wokers=2)


def test_without_ray_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'ray\[train\]'"):
        LAUNCHERS.create("ray").train(task("base", tmp_path))


class TestOnRay:
    pytestmark = ON_RAY

    def test_losses_weights_and_events_are_those_of_one_process(self, base: str, tmp_path: Path, cluster: str) -> None:
        config = msgspec.structs.replace(CONFIG, checkpoint_steps=2)
        storage = tmp_path / "storage"
        told: dict[str, list[Any]] = {"in_process": [], "ray": []}
        for name, events in told.items():
            arguments = {} if name == "in_process" else {"address": cluster, "storage": storage.as_uri()}
            trained = LAUNCHERS.create(name, **arguments).train(
                task(base, tmp_path / name, config, validation=ROWS[:2]), events=events.append
            )
            assert trained.result.loss == losses(events)
            assert (tmp_path / name / WEIGHTS).exists()
        assert losses(told["ray"]) == pytest.approx(losses(told["in_process"]), rel=ROUNDING)
        assert [type(event) for event in told["ray"]] == [type(event) for event in told["in_process"]]
        here, there = (events[-1].result for events in told.values())
        same = ("tokens", "rows", "trained", "labelled", "steps")
        assert [getattr(there, name) for name in same] == [getattr(here, name) for name in same]
        # Both checkpoints are here, nothing is left in the storage, and the secret is in no file of either.
        assert {path.name for path in (tmp_path / "ray").glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}
        assert list(storage.iterdir()) == []
        assert leaks(SECRET, under=tmp_path) == []
        assert leaks(SECRET, under=Path("/tmp/ray/session_latest/logs")) == []

    def test_a_killed_worker_is_replaced_and_a_killed_driver_frees_the_cluster(
        self, base: str, tmp_path: Path, cluster: str
    ) -> None:
        """The driver dies when a worker of the service is lost, or a job's process. Its run goes on later."""
        config = msgspec.structs.replace(CONFIG, checkpoint_steps=2, epochs=4)
        out, storage, told = tmp_path / "out", tmp_path / "storage", []
        on_ray = LAUNCHERS.create("ray", address=cluster, storage=str(storage))

        def events(event: Any) -> None:
            told.append(event)
            if event == CheckpointSaved(2):
                os.kill(ray_workers()[-1], signal.SIGKILL)
            if event == CheckpointSaved(4):
                for child in multiprocessing.active_children():
                    os.kill(child.pid or 0, signal.SIGKILL)

        with pytest.raises(TrainingError, match=r"was killed \(SIGKILL\)"):
            on_ray.train(task(base, out, config), events=events)
        # The new worker went on from the checkpoint: nothing before it was done again.
        steps = [event.step for event in told if isinstance(event, StepDone)]
        assert steps.count(1) == steps.count(2) == 1
        assert_within(SECONDS, lambda: not ray_workers())
        assert len(list(storage.iterdir())) == 1
        trained = on_ray.train(task(base, out, config, resume=True), events=told.append)
        assert [type(event) for event in told].count(Finished) == 1
        alone = LAUNCHERS.create("in_process").train(task(base, tmp_path / "alone", config))
        assert trained.result.steps == alone.result.steps == 8
        assert trained.result.loss == pytest.approx(alone.result.loss, rel=ROUNDING)
        assert list(storage.iterdir()) == []

    def test_a_checkpoint_counts_when_all_workers_have_put_their_part_of_it(
        self, base: str, tmp_path: Path, cluster: str
    ) -> None:
        """A worker that dies in the middle of its upload leaves half a file, and nobody must go on from that."""
        config = msgspec.structs.replace(CONFIG, checkpoint_steps=2)
        mark, told = tmp_path / "pid", []
        slow = SlowUpload(str(mark), "checkpoint-2", "rng_state_1.pth")

        def kill() -> None:
            assert_within(SECONDS, mark.exists)
            os.kill(int(mark.read_text("ascii")), signal.SIGKILL)

        watching = threading.Thread(target=kill, daemon=True)
        watching.start()
        on_ray = LAUNCHERS.create("ray", address=cluster, storage=str(tmp_path / "storage"))
        trained = on_ray.train(task(base, tmp_path / "out", config, callbacks=(slow,)), events=told.append)
        watching.join()
        assert trained.result.steps == 4
        assert told.count(CheckpointSaved(2)) == told.count(CheckpointSaved(4)) == 1

    def test_a_cancelled_training_leaves_a_checkpoint_that_another_launcher_goes_on_from(
        self, base: str, tmp_path: Path, cluster: str
    ) -> None:
        told: list[Any] = []
        long = msgspec.structs.replace(CONFIG, epochs=100_000)
        on_ray = LAUNCHERS.create("ray", address=cluster, grace=300)
        with pytest.raises(TrainingCancelledError, match="its checkpoint is kept"):
            on_ray.train(
                task(base, tmp_path, long),
                events=told.append,
                cancel=lambda: any(isinstance(event, StepDone) for event in told),
            )
        (step,) = (event.step for event in told if isinstance(event, CheckpointSaved))
        assert isinstance(told[-1], Failed)
        epochs = step // 2 + 1
        shorter = msgspec.structs.replace(CONFIG, epochs=epochs)
        trained = LAUNCHERS.create("in_process").train(task(base, tmp_path, shorter, resume=True))
        assert trained.result.steps == epochs * 2
        assert trained.result.loss[:step] == pytest.approx(losses(told)[:step])

    def test_an_error_comes_back_as_it_was_and_is_not_tried_again(
        self, base: str, tmp_path: Path, cluster: str
    ) -> None:
        told: list[Any] = []
        short = msgspec.structs.replace(CONFIG, max_length=20)
        with pytest.raises(RowTooLongError, match="20") as caught:
            LAUNCHERS.create("ray", address=cluster).train(task(base, tmp_path, short), events=told.append)
        assert (caught.value.line, caught.value.field) == (1, "tenant row")
        assert [type(event) for event in told] == [Failed]
        assert leaks(SECRET, str(caught.value)) == []
