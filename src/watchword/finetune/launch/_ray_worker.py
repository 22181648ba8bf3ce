"""What each worker of a Ray Train job runs: the one loop, as one process of a torch.distributed group."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.collective

from watchword.errors import WatchwordError
from watchword.finetune.launch._ray_storage import WEIGHTS, RunStorage
from watchword.finetune.launch.child import unpacked
from watchword.finetune.launch.in_process import InProcess
from watchword.training.base import TrainingTask
from watchword.training.events import CheckpointSaved, Failed, Finished, TrainingEvent
from watchword.training.private import OnCheckpoint

BEGUN = "begun"


def train(config: dict[str, Any]) -> None:
    """One worker's part of a training. An error of ours is told and ends it; whatever else is raised, Ray tries again.

    ``config`` names the ``desk`` to ask and to tell, the ``storage`` of the run, and the step that it was ``begun`` at.
    """
    desk, storage = config["desk"], config["storage"]
    with tempfile.TemporaryDirectory(prefix="watchword-") as name, contextlib.suppress(WatchwordError):
        folder = Path(name)
        _fetch_checkpoint(desk, storage, config["begun"], folder)
        task = _task(desk, folder)
        InProcess().train(task, events=_Told(desk, storage, folder), cancel=lambda: _stopped(desk))


def _task(desk: Any, folder: Path) -> TrainingTask:
    """The task as it is done here; the rows and the secret come from the driver, and stay in memory."""

    def report(checkpoint: Path, step: int) -> None:
        """Gives a checkpoint to Ray, which keeps it in the storage for workers that take the place of lost ones."""
        found = ray.train.Checkpoint.from_directory(checkpoint)
        ray.train.report({"step": step}, checkpoint=found, checkpoint_dir_name=checkpoint.name)
        # Each worker uploads a part, and this one's is done. Until all are, one that dies may leave half a file behind,
        # and whoever went on from that would fail every time.
        ray.train.collective.barrier()
        if _first():
            ray.get(desk.tell.remote(CheckpointSaved(step)))

    task = unpacked(ray.get(desk.order.remote()))
    return dataclasses.replace(task, folder=folder, callbacks=(*task.callbacks, OnCheckpoint(report)), resume=True)


def _fetch_checkpoint(desk: Any, storage: RunStorage, begun: int | None, folder: Path) -> None:
    """The newest checkpoint of this run, or the one that it goes on from.

    Ray notes a checkpoint some time after it is in the storage, and the desk at once. So the desk knows of one that was
    followed by a worker's death. Where the first worker died before it could tell, Ray knows of a newer one.
    """
    saved, noted = ray.get(desk.saved.remote()), ray.train.get_checkpoint()
    newest = noted.path.rpartition("/")[2] if noted is not None else ""
    if saved and saved >= _step(newest):
        storage.fetch(f"checkpoint-{saved}", folder / f"checkpoint-{saved}")
    elif noted is not None:
        noted.to_directory(folder / newest)
    elif begun is not None:
        storage.fetch(BEGUN, folder / f"checkpoint-{begun}")


def _step(checkpoint: str) -> int:
    return int(checkpoint.rpartition("-")[2] or 0)


def _first() -> bool:
    return bool(ray.train.get_context().get_world_rank() == 0)


def _stopped(desk: Any) -> bool:
    return bool(ray.get(desk.stopped.remote()))


class _Told:
    """Tells the driver of what happens, and that a run has finished only when its weights are in the storage.

    Of the workers only the first tells of more than its failure: the driver must hear of one that the others do not share.
    """

    def __init__(self, desk: Any, storage: RunStorage, folder: Path) -> None:
        self.desk, self.storage, self.folder = desk, storage, folder

    def __call__(self, event: TrainingEvent) -> None:
        # Checkpoints are told of when they are where the driver can get them.
        if isinstance(event, CheckpointSaved) or not (_first() or isinstance(event, Failed)):
            return
        if isinstance(event, Finished):
            self.storage.put(self.folder, WEIGHTS)
        ray.get(self.desk.tell.remote(event))
