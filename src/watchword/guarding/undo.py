"""Taking back what one guarding has put on disk: data must never stay there without what keeps its defense."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from watchword.errors import OutputError
from watchword.guarding.output import is_local, plain, target, written_before


class Undo:
    """Remembers what stood at each address before it was written.

    Large data is kept by a hard link beside it, small files by their bytes. What went to a stream or over the network
    cannot be taken back: ``take_back`` says so.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], None]] = []
        self._kept: list[Path] = []
        self.stays: list[str] = []

    def before_data(self, out: str) -> None:
        """Call before ``out`` is replaced."""
        if not is_local(out):
            return
        path = Path(plain(out))
        if not os.path.lexists(path):
            self._steps.append(lambda: path.unlink(missing_ok=True))
            return
        old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
        self._kept.append(old)
        try:
            os.link(path, old, follow_symlinks=False)
        except OSError:
            # A file system without hard links: from here on the old data cannot be had back.
            self._steps.append(_stays_if_new(path, path.lstat().st_ino, self.stays))
            return
        # Renaming one link of a file over another does nothing; ``done`` removes what then is left.
        self._steps.append(lambda: _moved(old, path))

    def after_data(self, out: str) -> None:
        """Call when ``out`` is complete."""
        if not is_local(out):
            self.stays.append(out)

    def new_file(self, path: Path) -> None:
        """Call when a file that was not there before, such as a secret, has been made."""
        self._steps.append(lambda: None if self.stays else path.unlink(missing_ok=True))

    def write(self, address: str, data: bytes) -> None:
        """Writes a small file; ``take_back`` gives it its old bytes again, or removes it."""
        old = written_before(address) if is_local(address) else None
        self._steps.append(lambda: None if self.stays else _restored(address, old))
        with target(address) as stream:
            stream.write(data)

    def take_back(self) -> None:
        """Everything as it was, unless data had to stay: then its secret and settings stay with it."""
        # The data's step is the first one, and decides whether the rest may go.
        for step in self._steps:
            with contextlib.suppress(OSError, OutputError):
                step()
        self.done()

    def done(self) -> None:
        """Nothing is to be taken back any more."""
        for old in self._kept:
            old.unlink(missing_ok=True)
        self._steps.clear()


def _moved(old: Path, path: Path) -> None:
    old.replace(path)


def _stays_if_new(path: Path, before: int, stays: list[str]) -> Callable[[], None]:
    def look() -> None:
        if path.lstat().st_ino != before:
            stays.append(str(path))

    return look


def _restored(address: str, old: bytes | None) -> None:
    if not is_local(address):
        return
    if old is None:
        Path(plain(address)).unlink(missing_ok=True)
        return
    with target(address) as stream:
        stream.write(old)
