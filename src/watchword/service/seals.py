"""The sealed secrets of all published releases, in a folder or at an fsspec URL: found, read, and put in place anew."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchword.errors import DataError, SecretError, StoreError, WatchwordError
from watchword.files.addresses import Address
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE
from watchword.files.remote import RemoteFolder
from watchword.secret.kept import SEALED
from watchword.service.stores import folder_at, store_at

# A seal has about a thousand bytes.
_MOST = 1 << 20
# What errors call it.
_WHAT = "the sealed secret"
# What stores say of an object that changes with it.
_TELLS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created", "updated", "size")


@dataclass(frozen=True)
class Seals:
    """What stands sealed below ``place``, in files called ``kinds``. A seal's name is its path from there."""

    place: Address
    kinds: tuple[str, ...] = (SEALED,)

    def found(self) -> dict[str, object]:
        """Every seal that is there now, each with a stamp that changes when it does. Raises StoreError for a store that is away."""
        if self.place.local is not None:
            with folder_at(self.place.local, _WHAT):
                return self._in_folder(self.place.local)
        try:
            below = RemoteFolder(self.place.whole).below()
        except DataError as error:
            raise StoreError(error.problem, path=error.path) from error
        return {name: _stamp(facts) for name, facts in sorted(below.items()) if name.rpartition("/")[2] in self.kinds}

    def read(self, name: str) -> bytes | None:
        """A seal's bytes; None where it is gone. Raises SecretError where it cannot be read."""
        try:
            if self.place.local is not None:
                return (self.place.local / name).read_bytes()
            return RemoteFolder(self.place.whole).read(name, _MOST)
        except FileNotFoundError:
            return None
        except (OSError, WatchwordError) as error:
            why = getattr(error, "strerror", None) or error
            raise SecretError(f"the sealed secret cannot be read: {why}", path=str(self.place.below(name))) from None

    def replace(self, name: str, sealed: bytes) -> None:
        """Puts another seal in its place, all at once. Raises OutputError."""
        if self.place.local is not None:
            with replacing(self.place.local / name, mode=PRIVATE_FILE) as stream:
                stream.write(sealed)
            return
        with store_at(self.place, _WHAT) as (system, path):
            system.pipe_file(f"{path.rstrip('/')}/{name}", sealed)

    def _in_folder(self, folder: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted(path for kind in self.kinds for path in folder.rglob(kind)):
            with contextlib.suppress(FileNotFoundError):
                look = path.stat()
                found[path.relative_to(folder).as_posix()] = look.st_ino, look.st_size, look.st_mtime_ns
        return found


def _stamp(facts: Mapping[str, Any]) -> object:
    return tuple(str(facts[name]) for name in _TELLS if name in facts)
