"""A Ray cluster on this machine for a test module, with room for two workers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_TRIES = 10


@contextlib.contextmanager
def ray_cluster() -> Iterator[str]:
    """The address of the cluster, which ends with the block."""
    import ray

    with pytest.MonkeyPatch.context() as patched:
        # Ray's workers step back behind all others by default, and engines under test beside them leave them nothing.
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_enable_worker_prestart", "RAY_worker_niceness"):
            patched.setenv(name, "0")
        # A training hook of a test's own is found by the workers there.
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        patched.setenv("PYTHONPATH", os.pathsep.join(paths))
        try:
            yield _started(ray)
        finally:
            ray.shutdown()


def _started(ray: Any) -> str:
    """Ray waits half a minute for itself, which is too short for a busy machine."""
    for _ in range(_TRIES):
        try:
            own = ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
        else:
            return str(own.address_info["gcs_address"])
    raise AssertionError("Ray does not start on this machine")


def ray_workers() -> list[int]:
    """The processes of Ray's training workers on this machine."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            title = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
        except OSError:
            continue
        if title.startswith(b"ray::RayTrainWorker"):
            found.append(int(process.name))
    return sorted(found)
