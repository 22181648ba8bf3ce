"""A Ray cluster on this machine for a test module, with room for two workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def ray_cluster() -> Iterator[str]:
    """The address of the cluster, which ends with the block."""
    import ray

    with pytest.MonkeyPatch.context() as patched:
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_enable_worker_prestart"):
            patched.setenv(name, "0")
        started = ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
        try:
            yield started.address_info["gcs_address"]
        finally:
            ray.shutdown()


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
