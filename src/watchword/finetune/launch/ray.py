"""Trains as a Ray Train job on a cluster: several workers train one model, and lost ones are replaced.

A child of this process is the job's driver. When it ends, whatever ends it, Ray ends the job. The rows and the secret go
from the driver's memory to the workers'; they stand in no argument, no log and no storage. The machines of the cluster and
the connections between them must be the provider's. Needs ``pip install 'ray[train]'``.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from watchword.errors import UsageError
from watchword.finetune.launch.child import ChildProcess


@dataclass(frozen=True)
class Cluster:
    """Which cluster, what a job takes of it, and how often workers may fail before the job does."""

    workers: int
    address: str | None
    storage: str | None
    cpus: float
    gpu: bool
    failures: int


class RayCluster(ChildProcess):
    """``workers`` processes, each with ``cpus`` processors, and one GPU with ``gpu``.

    ``address`` is a cluster's; without it, that of RAY_ADDRESS, or a cluster on this machine for this training alone.
    ``storage`` is a path or fsspec URL for checkpoints, which all of its machines reach. Without it, the training's own
    folder must be one that they share. The job goes on from a checkpoint when workers are lost, ``failures`` times. A
    cancelled one that takes more than ``grace`` seconds is killed.
    """

    def __init__(
        self,
        workers: int = 2,
        address: str | None = None,
        storage: str | None = None,
        cpus: float = 1.0,
        gpu: bool = False,
        failures: int = 3,
        grace: float = 30.0,
    ) -> None:
        super().__init__(grace)
        for name, value in (("workers", workers), ("cpus", cpus)):
            if value <= 0:
                raise UsageError(f"launcher 'ray': {name} is {value}; it must be greater than 0", param=name)
        self.cluster = Cluster(workers, address, storage, cpus, gpu, failures)

    def _in_the_child(self) -> Callable[[Connection], None]:
        """The driver. Raises UsageError where Ray is not installed."""
        if importlib.util.find_spec("ray") is None:
            raise UsageError("the launcher 'ray' needs Ray: pip install 'ray[train]'", param="launcher")
        return functools.partial(_drive, self.cluster)


def _drive(cluster: Cluster, pipe: Connection) -> None:
    # Here, since it loads Ray, which the parent does not need.
    from watchword.finetune.launch._ray_driver import drive

    task, secret = pipe.recv()
    drive(cluster, (dataclasses.replace(task, model=_anywhere(task.model)), secret), pipe)


def _anywhere(model: str) -> str:
    """A model's folder by its whole path: workers start in folders of their own."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model
