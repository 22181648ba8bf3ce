"""One wording for whatever a file system refuses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from watchword.errors import OutputError


def unwritable(path: Path | str, error: OSError) -> OutputError:
    """The error to raise about ``path``."""
    why = error.strerror or str(error)
    return OutputError(f"the output cannot be written: {why}; choose a folder with room and write rights", path=path)


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turns what the file system refuses inside into an OutputError about ``path``."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder last through a power cut, where a system has that."""
    if os.name == "nt":  # Windows opens no folder as a file
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
