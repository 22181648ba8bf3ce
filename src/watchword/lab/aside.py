"""Folders that are built aside and appear whole: a crash leaves at most a folder that nobody trusts and the next run sweeps."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from watchword.errors import OutputError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the file system refuses inside into an OutputError about ``path``."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"{path} cannot be written: {why}; choose a folder with room and write rights") from error


@contextlib.contextmanager
def folder_aside(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder ``parent/prefix…`` that is gone at the end, unless it was renamed meanwhile. Sweeps dead ones first.

    This process holds a lock on it; the kernel lets go of that when the process dies, however it dies. Raises
    OutputError where the folder cannot be made.
    """
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        sweep(parent, prefix)
        folder, lock = _locked_new(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(parent: Path, prefix: str) -> None:
    """Removes the folders ``parent/prefix…`` whose processes are dead."""
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _lock(folder):
            shutil.rmtree(folder, ignore_errors=True)


def discard(path: Path, prefix: str) -> None:
    """Takes ``path`` out of the way at once, then deletes it. Raises OSError; one that is gone already is fine."""
    away = path.with_name(f"{prefix}{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(away)
        if away.is_dir() and not away.is_symlink():
            shutil.rmtree(away, ignore_errors=True)
        else:
            away.unlink(missing_ok=True)


def _locked_new(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        folder.mkdir()
        # Another process may sweep between these two lines; the folder is then gone, or about to be: take a new one.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                folder.stat()
            except OSError:
                os.close(lock)
                raise
            return folder, lock


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; BlockingIOError (an OSError) where its process lives."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)
