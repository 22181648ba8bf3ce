"""The two rounds of ``shards`` as Ray Data jobs. Ray runs a lost task again elsewhere, so a killed worker loses nothing."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from watchword.errors import UsageError
from watchword.files.addresses import Address
from watchword.files.remote import without_credentials

T = TypeVar("T")
R = TypeVar("R")


def on_ray(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Every task somewhere in the cluster (``RAY_ADDRESS``, or one on this machine), results in the items' order.

    Tasks carry the secret in the clear: the cluster's machines and the connections between them must be the provider's.
    """
    try:
        import ray.data
    except ImportError:
        raise UsageError("sharing the work among machines needs Ray: pip install 'ray[data]'") from None
    rows = [{"index": index, "task": pickle.dumps((function, item))} for index, item in enumerate(items)]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(_work).take_all()
    return [pickle.loads(row["result"]) for row in sorted(done, key=lambda row: row["index"])]  # noqa: S301 -- our own


def shards_of(source: Address) -> list[Address]:
    """The files of a folder or pattern, local or on any storage that fsspec knows, in the order of their names."""
    import fsspec

    try:
        system, path = fsspec.url_to_fs(source.whole)
        found = system.glob(path) if "*" in path else system.ls(path, detail=False)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(
            f"{source} cannot be listed: {without_credentials(str(error))}; give a folder or a pattern such as 'data/*.jsonl'"
        ) from None
    names = sorted(name for name in found if not name.rpartition("/")[2].startswith((".", "_")) and system.isfile(name))
    if not names:
        raise UsageError(f"{source} names no file; give a folder or a pattern such as 'data/*.jsonl'")
    return [Address(Path(name)) if source.url is None else Address(url=system.unstrip_protocol(name)) for name in names]


def _work(row: dict[str, Any]) -> dict[str, Any]:
    function, item = pickle.loads(row["task"])  # noqa: S301 -- our own
    return {"index": row["index"], "result": pickle.dumps(function(item))}
