"""The processor's cores, and the processes that share them: each computes with its part, and takes more when another ends.

Threads of OpenMP spin while they wait for each other. Two processes with a thread for every core each therefore stop one
another: two trainings together got half of what one gets alone (results/LOG.md). With a core for every thread they do not.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from watchword.files.folders import cache_root
from watchword.files.locks import Lock, try_lock

# How long a count holds, in seconds: a step of a training takes about as long, and a token much less.
_FRESH = 0.5


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def meeting_place() -> Path:
    """Where this user's processes find each other. By machine: a home folder may be on several."""
    return cache_root() / "computing" / (platform.node() or "here")


class Neighbours:
    """Counts the processes of this user that compute at present, this one among them.

    Each holds a lock on a file of its own in ``meeting_place``. The system lets go of it when the process ends, however it
    does. Where nothing can be locked, every process believes to be alone.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._inside = 0
        self._own: Lock | None = None
        self._count, self._counted = 1, 0.0

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """While inside, others count this process: once, however often it is entered."""
        with self._guard:
            self._inside += 1
            if self._inside == 1:
                self._own, self._counted = _announced(meeting_place()), 0.0
        try:
            yield
        finally:
            with self._guard:
                self._inside -= 1
                if self._inside == 0 and self._own is not None:
                    self._own.remove()
                    self._own = None

    def share(self) -> int:
        """The threads that this process should use now: all cores by the number of processes, and at least one."""
        with self._guard:
            now = time.monotonic()
            if now - self._counted > _FRESH:
                self._count, self._counted = self._alive(), now
            return max(1, cores() // self._count)

    def _alive(self) -> int:
        if self._own is None:
            return 1
        try:
            others = [path for path in self._own.path.parent.iterdir() if path != self._own.path]
        except OSError:  # somebody has cleared the cache
            return 1
        return 1 + sum(map(_in_use, others))


def _announced(place: Path) -> Lock | None:
    """A locked file with a new name; another process may take the file for a dead one's before it is locked."""
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            if lock := try_lock(place / f"{os.getpid()}-{secrets.token_hex(4)}"):
                return lock
    return None


def _in_use(path: Path) -> bool:
    """Whether a live process holds it; what a dead one has left is removed."""
    try:
        lock = try_lock(path)
    except OSError:
        return False
    if lock is None:
        return True
    lock.remove()
    return False
