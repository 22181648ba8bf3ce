"""Launchers: the same training in this process and in a child, which can be cancelled and killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch")

from support.cli_samples import leaks
from support.tiny import saved
from support.training_samples import CONFIG, ROWS, SECRET
from watchword.errors import RowTooLongError, TrainingCancelledError, TrainingError, UsageError
from watchword.files.digest import sha256_file
from watchword.finetune.launch._process import Child
from watchword.finetune.launch.base import LAUNCHERS, Launcher
from watchword.finetune.launch.child import ChildProcess
from watchword.training.base import TrainingTask
from watchword.training.config import TrainingConfig
from watchword.training.events import CheckpointSaved, Failed, Finished, LossMeasured, StepDone

LONG = msgspec.structs.replace(CONFIG, epochs=100_000)
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(saved(tmp_path_factory.mktemp("models") / "base"))


@pytest.fixture(params=["in_process", "child"])
def launcher(request: pytest.FixtureRequest) -> Launcher:
    return LAUNCHERS.create(request.param)


def task(base: str, folder: Path, config: TrainingConfig = CONFIG, **options: Any) -> TrainingTask:
    return TrainingTask(base, ROWS, config, folder, SECRET, **options)


def losses(told: list[Any]) -> list[float]:
    return [event.loss for event in told if isinstance(event, LossMeasured)]


def test_the_registry_knows_all() -> None:
    assert LAUNCHERS.names() == ["child", "in_process", "ray"]


def child_with_a_child(pipe: Connection) -> None:
    grandchild = Child.spawned(greeting)
    pipe.send(grandchild.pipe.recv())
    grandchild.wait()


def greeting(pipe: Connection) -> None:
    pipe.send("hello")


def test_a_child_may_train_in_a_child() -> None:
    """As a job of the service does, which is a process itself."""
    child = Child.spawned(child_with_a_child)
    try:
        assert child.pipe.recv() == "hello"
    finally:
        child.end()


def test_a_child_trains_the_same_weights_and_tells_the_same(base: str, tmp_path: Path) -> None:
    told: dict[str, list[Any]] = {"in_process": [], "child": []}
    config = msgspec.structs.replace(CONFIG, checkpoint_steps=2)
    for name, events in told.items():
        trained = LAUNCHERS.create(name).train(task(base, tmp_path / name, config), events=events.append)
        assert (trained.model is None) is (name == "child")
        assert trained.result.loss == losses(events)
    here, there = (tmp_path / name / WEIGHTS for name in told)
    assert sha256_file(here) == sha256_file(there)
    assert told["in_process"][:-1] == told["child"][:-1]
    assert [event for event in told["child"] if isinstance(event, CheckpointSaved)] == [
        CheckpointSaved(2),
        CheckpointSaved(4),
    ]
    assert isinstance(told["child"][-1], Finished)
    assert not multiprocessing.active_children()


def test_a_cancelled_run_ends_in_seconds_and_goes_on_later(base: str, tmp_path: Path, launcher: Launcher) -> None:
    told: list[Any] = []
    with pytest.raises(TrainingCancelledError, match="its checkpoint is kept"):
        launcher.train(
            task(base, tmp_path, LONG), events=told.append, cancel=lambda: any(isinstance(e, StepDone) for e in told)
        )
    assert isinstance(told[-1], Failed)
    steps = [event.step for event in told if isinstance(event, CheckpointSaved)]
    assert len(steps) == 1
    assert not multiprocessing.active_children()
    # To the end of the epoch, so that the whole is short.
    shorter = msgspec.structs.replace(CONFIG, epochs=steps[0] // 2 + 1)
    trained = launcher.train(task(base, tmp_path, shorter, resume=True))
    assert trained.result.steps == shorter.epochs * 2
    assert trained.result.loss[: steps[0]] == pytest.approx(losses(told)[: steps[0]])


def test_a_run_that_is_cancelled_at_its_last_step_counts(base: str, tmp_path: Path) -> None:
    told: list[Any] = []
    trained = LAUNCHERS.create("in_process").train(
        task(base, tmp_path), events=told.append, cancel=lambda: StepDone(4, 4) in told
    )
    assert trained.result.steps == 4


def test_a_child_that_does_not_listen_is_killed(base: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(TrainingCancelledError, match=r"killed after 0 s; its last checkpoint is kept"):
        ChildProcess(grace=0).train(task(base, tmp_path), cancel=lambda: True)
    assert time.monotonic() - started < 60
    assert not multiprocessing.active_children()


def test_an_error_comes_back_as_it_was(base: str, tmp_path: Path, launcher: Launcher) -> None:
    told: list[Any] = []
    short = msgspec.structs.replace(CONFIG, max_length=20)
    with pytest.raises(RowTooLongError, match="20") as caught:
        launcher.train(task(base, tmp_path, short), events=told.append)
    assert (caught.value.line, caught.value.field) == (1, "tenant row")
    assert told == [Failed(caught.value)]
    assert leaks(SECRET, str(caught.value)) == []


def kill_children(event: Any) -> None:
    """As a system without memory does."""
    if isinstance(event, StepDone):
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is Unix's")
def test_a_killed_child_is_an_error_that_says_so_and_goes_on_later(base: str, tmp_path: Path) -> None:
    config = msgspec.structs.replace(CONFIG, checkpoint_steps=1, epochs=20)
    told: list[Any] = []

    def events(event: Any) -> None:
        told.append(event)
        if CheckpointSaved(3) in told:
            kill_children(event)

    with pytest.raises(TrainingError, match=r"process was killed \(SIGKILL\); a lack of memory is the usual reason"):
        ChildProcess().train(task(base, tmp_path, config), events=events)
    assert not (tmp_path / WEIGHTS).exists()
    trained = ChildProcess().train(task(base, tmp_path, config, resume=True))
    assert trained.result.steps == 40


def test_hooks_that_cannot_travel_are_refused_before_a_child_is_started(base: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot travel to another process .* use `launcher=in_process`"):
        ChildProcess().train(task(base, tmp_path, callbacks=(lambda: None,)))


PARENT = """
import sys
from pathlib import Path
from support.training_samples import CONFIG, ROWS, SECRET
import msgspec
from watchword.finetune.launch.child import ChildProcess
from watchword.training.base import TrainingTask
from watchword.training.events import StepDone
import multiprocessing

def tell(event):
    if isinstance(event, StepDone) and event.step == 1:
        print(multiprocessing.active_children()[0].pid, flush=True)

config = msgspec.structs.replace(CONFIG, epochs=100_000)
ChildProcess().train(TrainingTask(sys.argv[1], ROWS, config, Path(sys.argv[2]), SECRET), events=tell)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_the_secret_is_in_no_argument_and_the_child_dies_with_its_parent(base: str, tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, base, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tests)},
    ) as parent:
        assert parent.stdout is not None
        child = Path("/proc") / parent.stdout.readline().strip()
        shown = [(child / name).read_bytes().decode("utf-8", "replace") for name in ("cmdline", "environ")]
        assert leaks(SECRET, *shown) == []
        parent.kill()
        parent.wait()
    assert_within(20, lambda: not running(child))


def running(process: Path) -> bool:
    """Whether it lives; a zombie, which nobody has asked for its end, does not."""
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except OSError:
        return False


def assert_within(seconds: float, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
