"""Writing a file so that a crash or a full disk leaves the old one whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from watchword.errors import OutputError
from watchword.files.locks import lock_open_file, try_lock
from watchword.files.writing import sync_folder, writing


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666, fresh: bool = False) -> Iterator[BinaryIO]:
    """A stream whose bytes become ``path`` at the end, all or nothing: temporary file, fsync, rename.

    Whatever is raised inside, the old file stands and the temporary one is gone. One that a killed process has left is
    removed by the next that writes the same file. ``mode`` is subject to the umask; give 0o600 for a file that holds a
    secret. ``fresh``: a file that stands there is never replaced. Raises OutputError where the file system refuses.
    """
    with writing(path):
        sweep_temporaries(path)
        temporary, descriptor = _temporary(path, mode)
        place = _linked if fresh else Path.replace
        try:
            # The stream's name tells where its bytes are meanwhile.
            with open(temporary, "wb", opener=lambda *_: descriptor) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                # While it is open it is locked, and nobody sweeps it; Windows renames closed files only.
                if os.name != "nt":
                    place(temporary, path)
            if os.name == "nt":
                place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def sweep_temporaries(path: Path) -> None:
    """Removes what killed processes have left of ``path``: temporary files that nobody has locked."""
    start, end = f".{path.name}.", ".tmp"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = [entry.name for entry in os.scandir(path.parent) if entry.name.startswith(start)]
        for name in names:
            if len(name) == len(start) + 8 + len(end) and name.endswith(end):
                _sweep(path.with_name(name))


def check_writable(path: Path) -> None:
    """Raises OutputError unless a file could be made there: before long work, not after it."""
    if path.is_dir():
        raise OutputError("this is a folder; name a file in it", path=path)
    with writing(path):
        probe = _name(path)
        probe.touch(exist_ok=False)
        probe.unlink(missing_ok=True)


def _name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _temporary(path: Path, mode: int) -> tuple[Path, int]:
    """A new file beside ``path``, open and locked, so that nobody sweeps it."""
    while True:
        temporary = _name(path)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        if _guarded(descriptor):
            return temporary, descriptor
        os.close(descriptor)


def _guarded(descriptor: int) -> bool:
    """Locks a new file; False where somebody was quicker, and sweeps it."""
    try:
        mine = lock_open_file(descriptor)
    except OSError:  # a file system without locks, where nothing is swept
        return True
    return mine and os.fstat(descriptor).st_nlink > 0


def _linked(temporary: Path, path: Path) -> None:
    """Puts the file in place unless there is one."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: an empty file takes the name first
        path.touch(mode=0o600, exist_ok=False)
        temporary.replace(path)


def _sweep(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        if lock := try_lock(temporary):
            lock.remove()
