"""Folders that are built under a hidden name and appear whole. After a crash, what is left is not trusted, and the next
run removes it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from watchword.errors import OutputError
from watchword.files.locks import Lock, try_lock
from watchword.files.writing import unwritable, writing

# A folder that holds a tenant's rows, or what a model learnt from them, is nobody else's business.
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
# What holds the rows of a tenant while they are read or sent is called so.
SPOOL = ".watchword-spool-"
# What renaming answers onto a folder that another process has put there, or onto a stray file.
TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, *((errno.EACCES,) if os.name == "nt" else ()))
_LOCK = ".lock"


def cache_root() -> Path:
    """``$WATCHWORD_CACHE``, else ``$XDG_CACHE_HOME/watchword``, else ``~/.cache/watchword``."""
    if own := os.environ.get("WATCHWORD_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared).expanduser() if shared else Path.home() / ".cache") / "watchword"


@contextlib.contextmanager
def atomic_folder(parent: Path, prefix: str, *, mode: int = 0o777) -> Iterator[Path]:
    """A new folder ``parent/prefix…`` that is gone at the end, unless it was renamed meanwhile. Sweeps dead ones first.

    This process holds a lock beside it; the system lets go of that when the process dies, however it dies. ``mode`` is
    subject to the umask. Raises OutputError where the folder cannot be made.
    """
    with writing(parent):
        sweep(parent, prefix)
        folder, lock = _locked_name(parent, prefix)
    try:
        with writing(parent):
            folder.mkdir(mode=mode)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.remove()


@contextlib.contextmanager
def spool_folder(parent: Path | None = None) -> Iterator[Path]:
    """A private folder for a tenant's rows, below ``parent`` or the system's folder for temporary files.

    Raises OutputError where none can be made. What killed processes have left there is swept.
    """
    with contextlib.ExitStack() as made:
        try:
            place = parent or Path(tempfile.gettempdir())
            folder = made.enter_context(atomic_folder(place, SPOOL, mode=PRIVATE_FOLDER))
        except (OSError, OutputError) as error:
            why, path = (error.problem, error.path) if isinstance(error, OutputError) else (error, None)
            raise OutputError(
                f"no temporary file can be written: {why}; TMPDIR names another folder for them", path=path
            ) from error
        yield folder


def sweep(parent: Path, prefix: str) -> None:
    """Removes our own folders ``parent/prefix…`` whose processes are dead."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = [entry for entry in os.scandir(parent) if entry.name.startswith(prefix) and _ours(entry)]
        for name in {entry.name.removesuffix(_LOCK) for entry in found}:
            _sweep(parent / name)


def discard(path: Path, prefix: str) -> None:
    """Takes ``path`` out of the way at once, then deletes it. Raises OSError; one that is gone already is fine."""
    away = path.with_name(f"{prefix}{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(away)
        if away.is_dir() and not away.is_symlink():
            shutil.rmtree(away, ignore_errors=True)
        else:
            away.unlink(missing_ok=True)


def replace_folder(folder: Path, target: Path, prefix: str) -> None:
    """Renames ``folder`` to ``target``, in the place of what stands there. Raises OutputError; the last to come stays."""
    with writing(target):
        for _ in range(10):
            try:
                folder.rename(target)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
                discard(target, prefix)
            else:
                return
    raise unwritable(target, "other processes keep putting something there", "name another folder")


def make_private(folder: Path) -> None:
    """Takes all rights from others on a folder and everything in it, whatever wrote it under whatever umask."""
    with writing(folder):
        folder.chmod(PRIVATE_FOLDER)
        for path in folder.rglob("*"):
            if not path.is_symlink():
                path.chmod(PRIVATE_FOLDER if path.is_dir() else PRIVATE_FILE)


def _locked_name(parent: Path, prefix: str) -> tuple[Path, Lock]:
    """A name that nobody has, with the lock that keeps others from sweeping the folder that will have it."""
    for attempt in range(10):
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        parent.mkdir(parents=True, exist_ok=True)
        try:
            # Another process may be sweeping this very lock away; then take a new name.
            if lock := try_lock(_lock_of(folder)):
                return folder, lock
        except FileNotFoundError:  # somebody has just removed the parent, which was empty
            if attempt == 9:
                raise
    raise unwritable(parent, "other processes take every lock there", "name another folder")


def _sweep(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if lock := try_lock(_lock_of(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            lock.remove()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _ours(entry: os.DirEntry[str]) -> bool:
    """In a folder for all, such as /tmp, whatever others call like ours is left alone."""
    try:
        return os.name == "nt" or entry.stat(follow_symlinks=False).st_uid == os.getuid()
    except FileNotFoundError:
        return False
