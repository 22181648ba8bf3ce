"""Locks, by which two processes on one output do not undo each other's work; on Linux, macOS and Windows alike.

The system lets go of a lock when its process ends, however it does: a lock file that was left behind means nothing. Whoever
holds a lock removes its file at the end; whoever has opened that file meanwhile notices, and takes a new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchword.errors import OutputError, OutputInUseError
from watchword.files.writing import unwritable

# A link that somebody has put in a lock's place is not followed.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
# What a file system without locks answers.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
_PAUSE = 0.02


@dataclass(frozen=True)
class Lock:
    """A locked file."""

    path: Path
    descriptor: int

    def remove(self) -> None:
        """Deletes the file, then lets go."""
        if os.name == "nt":  # an open file cannot be deleted there
            os.close(self.descriptor)
        with contextlib.suppress(OSError):
            self.path.unlink()
        if os.name != "nt":
            os.close(self.descriptor)


def lock_path(output: Path) -> Path:
    """The lock file of an output, hidden beside it."""
    return output.with_name(f".{output.name}.lock")


@contextlib.contextmanager
def locked(output: Path, *, at: Path | None = None, wait: float = 0.0) -> Iterator[None]:
    """Alone at ``output``. ``at`` is the lock file, if not beside it; ``wait`` in seconds for another process to end.

    Raises OutputInUseError where another process is at it, and OutputError where nothing can be locked.
    """
    lock = _acquired(at or lock_path(output), output, time.monotonic() + wait)
    try:
        yield
    finally:
        lock.remove()


def try_lock(path: Path) -> Lock | None:
    """The lock on a file, which is made where there is none; None while anybody else has it. Raises OSError."""
    while True:
        descriptor = os.open(path, _FLAGS, 0o600)
        try:
            if not lock_open_file(descriptor):
                os.close(descriptor)
                return None
            if _still_there(path, descriptor):
                return Lock(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def lock_open_file(descriptor: int) -> bool:
    """Locks an open file until it is closed; False where somebody else has. Raises OSError."""
    # Here, since it loads much that commands which lock nothing do not need.
    from filelock import lock_descriptor

    return lock_descriptor(descriptor, blocking=False)


def _still_there(path: Path, descriptor: int) -> bool:
    """Whether ``path`` is still the file that was locked, and not one that its last holder has removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _acquired(path: Path, output: Path, until: float) -> Lock:
    while True:
        try:
            lock = try_lock(path)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise unwritable(output, error) from error
            raise OutputError(
                f"the output cannot be locked: {error.strerror}; choose a folder on a file system that has file locks",
                path=output,
            ) from error
        if lock is not None:
            return lock
        if time.monotonic() >= until:
            raise OutputInUseError(
                "another process is at work on it; wait for it or end it, or name another place", path=output
            )
        time.sleep(_PAUSE)
