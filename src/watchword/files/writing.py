"""One wording for whatever a file system refuses."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from watchword.errors import OutputError


def unwritable(
    place: object,
    why: Exception | str,
    fix: str = "choose a folder with room and write rights",
    *,
    what: str = "the output",
) -> OutputError:
    """The error to raise about ``place``, a path or an address; ``what`` it is."""
    said = getattr(why, "strerror", None) or str(why)
    return OutputError(f"{what} cannot be written: {said}; {fix}", path=str(place))


@contextlib.contextmanager
def writing(place: object) -> Iterator[None]:
    """Turns what the file system refuses inside into an OutputError about ``place``."""
    try:
        yield
    except OSError as error:
        raise unwritable(place, error) from error


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder last through a power cut, where a system has that."""
    if os.name == "nt":  # Windows opens no folder as a file
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
