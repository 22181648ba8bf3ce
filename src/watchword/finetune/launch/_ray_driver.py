"""The driver of one Ray Train job: starts it, passes on what it tells, and brings its checkpoints and weights home."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import ray.train.torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from watchword.errors import TrainingError, WatchwordError
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE, PRIVATE_FOLDER
from watchword.files.writing import writing
from watchword.finetune.launch import _ray_worker
from watchword.finetune.launch._ray_storage import WEIGHTS, RunStorage
from watchword.finetune.launch.child import cancelled_by
from watchword.secret.ring import RING
from watchword.training.base import TrainingTask
from watchword.training.checkpoints import newest_checkpoint
from watchword.training.events import CheckpointSaved, Failed, Finished, TrainingEvent

if TYPE_CHECKING:
    from watchword.finetune.launch.ray import Cluster

# Seconds between two looks at what the workers have told.
_PAUSE = 0.2
# Seconds that a job may take to end once one of its workers has failed; others may wait for that one for ever.
_FAILING = 60.0
_KEYS = ("WATCHWORD_KEY", RING)
# In the training's folder: the run whose part of the storage a driver that was killed has left.
_RUN, _OWN = ".ray-run", ".ray"


class Desk:
    """An actor beside the driver, by which workers get their order and tell what happens. What it holds is in memory only."""

    def __init__(self) -> None:
        self._order: Any = None
        self._events: list[TrainingEvent] = []
        self._stopped = False
        self._saved = 0

    def hold(self, order: Any) -> None:
        """By a call, and not when the actor is made: Ray writes down how actors are made."""
        self._order = order

    def order(self) -> Any:
        """The task, and the secret apart."""
        return self._order

    def tell(self, event: TrainingEvent) -> None:
        """Keeps an event for the driver."""
        self._events.append(event)
        if isinstance(event, CheckpointSaved):
            self._saved = event.step

    def saved(self) -> int:
        """The step of the newest checkpoint that is in the storage; 0 without one."""
        return self._saved

    def taken(self) -> list[TrainingEvent]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """From now on ``stopped`` is true."""
        self._stopped = True

    def stopped(self) -> bool:
        """Whether the training is to end behind its step."""
        return self._stopped


def drive(cluster: Cluster, order: tuple[TrainingTask, Any], pipe: Connection) -> None:
    """The child's life: one training. Its last word is Finished or Failed."""
    cancelled = cancelled_by(pipe)
    try:
        last = _Driver(cluster, order, pipe, cancelled.is_set).run()
    except WatchwordError as error:
        last = Failed(error)
    except Exception as error:  # noqa: BLE001 -- boundary: whatever a cluster fails of is a failed training
        # Ray's own words go on for pages, with what each worker has printed last.
        why = next(iter(str(error).splitlines()), "")
        last = Failed(TrainingError(f"the training failed on the cluster ({type(error).__name__}: {why})"))
    pipe.send(last)


class _Driver:
    def __init__(self, cluster: Cluster, order: tuple[TrainingTask, Any], pipe: Connection, cancelled: Any) -> None:
        self.cluster, self.order, self.pipe, self.cancelled = cluster, order, pipe, cancelled
        self.task = order[0]
        self._last: Finished | Failed | None = None
        self._failed_at = math.inf
        self._stopping = False

    def run(self) -> Finished | Failed:
        """Raises whatever Ray or the storage raises."""
        with _stored(self.cluster, self.task) as storage, _connected(self.cluster):
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
            desk = ray.remote(num_cpus=0, scheduling_strategy=here)(Desk).remote()
            ray.get(desk.hold.remote(self.order))
            trainer = self._trainer(desk, storage)
            self._attend(_begun(trainer.fit), desk, storage)
            if self._last is None:
                raise TrainingError("the cluster has ended the training without a result")
            if isinstance(self._last, Finished):
                storage.fetch(WEIGHTS, self.task.folder)
            return self._last

    def _trainer(self, desk: Any, storage: RunStorage) -> Any:
        own, parent = self.cluster, storage.path.rpartition("/")
        return ray.train.torch.TorchTrainer(
            _ray_worker.train,
            train_loop_config={"desk": desk, "storage": storage, "begun": _put_begun(self.task, storage)},
            scaling_config=ray.train.ScalingConfig(
                num_workers=own.workers, use_gpu=own.gpu, resources_per_worker={"CPU": own.cpus, "GPU": int(own.gpu)}
            ),
            run_config=ray.train.RunConfig(
                name=parent[2],
                storage_path=parent[0],
                storage_filesystem=storage.arrow(),
                failure_config=ray.train.FailureConfig(max_failures=own.failures),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            ),
        )

    def _attend(self, fitting: Future[Any], desk: Any, storage: RunStorage) -> None:
        """Passes on what is told until the job has ended. Raises what it raises, unless the workers have had their last word."""
        while True:
            with contextlib.suppress(NotYetError):
                fitting.exception(_PAUSE)
            ended = fitting.done()
            self._pass_on(ray.get(desk.taken.remote()), storage)
            if ended and self._last is None:
                fitting.result()
            if ended:
                return
            if time.monotonic() - self._failed_at > _FAILING:
                return
            if self.cancelled() and not self._stopping:
                self._stopping = True
                ray.get(desk.stop.remote())

    def _pass_on(self, events: Sequence[TrainingEvent], storage: RunStorage) -> None:
        for event in events:
            if isinstance(event, Finished | Failed):
                self._last = event
                self._failed_at = time.monotonic() if isinstance(event, Failed) else math.inf
                continue
            if isinstance(event, CheckpointSaved):
                storage.bring_home(event.step, self.task.folder)
            self.pipe.send(event)


def _begun(action: Callable[[], Any]) -> Future[Any]:
    """Runs it in a thread that nobody has to wait for."""
    found: Future[Any] = Future()

    def run() -> None:
        try:
            found.set_result(action())
        except Exception as error:  # noqa: BLE001 -- boundary: whatever the job raises is raised where it is waited for
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found


@contextlib.contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    """A connection to the cluster, or one on this machine for as long as it is needed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A cluster that starts here gets this environment, and needs no key of the provider's.
    for name in _KEYS:
        os.environ.pop(name, None)
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    local = {} if address else {"num_cpus": math.ceil(cluster.workers * cluster.cpus), "include_dashboard": False}
    ray.init(address=address or "local", log_to_driver=False, logging_level="warning", **local)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _stored(cluster: Cluster, task: TrainingTask) -> Iterator[RunStorage]:
    """The run's part of the storage; gone at the end, like what a driver that was killed has left of an earlier run."""
    address = cluster.storage or str(task.folder.absolute() / _OWN)
    mark = task.folder / _RUN
    with writing(task.folder):
        task.folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    if mark.exists():
        RunStorage.at(address, mark.read_text("ascii")).remove()
    run = f"watchword-{secrets.token_hex(8)}"
    storage = RunStorage.at(address, run)
    with replacing(mark, mode=PRIVATE_FILE) as stream:
        stream.write(run.encode())
    try:
        storage.keep_private()
        yield storage
    finally:
        storage.remove()
        mark.unlink(missing_ok=True)


def _put_begun(task: TrainingTask, storage: RunStorage) -> int | None:
    """Puts the checkpoint to go on from where the workers find it; its step, if there is one."""
    newest = newest_checkpoint(task.folder) if task.resume else None
    if newest is None:
        return None
    storage.put(Path(newest), _ray_worker.BEGUN)
    return int(newest.rpartition("-")[2])
