"""Addresses: a local file, a URL that fsspec opens, or a standard stream; parsed once, where they come in.

What is written there is private, and whole or not there at all.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from watchword.errors import DataError, OutputError, UsageError
from watchword.files.atomic import replacing
from watchword.files.digest import sha256_file
from watchword.files.folders import PRIVATE_FILE, spool_folder
from watchword.files.remote import file_system, remote, without_credentials
from watchword.files.writing import unwritable

STREAM = "-"
# The secret stands in the data in the clear.
PRIVATE = PRIVATE_FILE
# What fsspec calls this machine's own files; by its way they would be open to all, and written in place.
_LOCAL = ("file://", "local://")
# Bytes that may wait before they are sent to the disk.
_FLOW = 1 << 26


@dataclass(frozen=True, repr=False)
class Address:
    """Where data is: ``local`` is a file or folder here, ``url`` is for fsspec. With neither it is a standard stream.

    ``str`` is for messages: it shows no password and no key that a URL carries.
    """

    local: Path | None = None
    url: str | None = None

    @classmethod
    def parse(cls, given: str | Path) -> Address:
        """A path is local whatever it is called; of a text, ``-`` is a standard stream and ``file://`` a local path."""
        if isinstance(given, Path):
            return cls(given)
        if not given:
            raise UsageError("the address is empty; name a file, a folder, a URL, or - for a standard stream")
        if given == STREAM:
            return cls()
        prefix = next((prefix for prefix in _LOCAL if given.startswith(prefix)), "")
        path = given.removeprefix(prefix)
        if not prefix and "://" in given:
            return cls(url=given)
        return cls(Path(os.path.expanduser(path) if path.startswith("~") else path))  # noqa: PTH111 -- a user may be unknown

    @property
    def is_stream(self) -> bool:
        """Whether it is standard input (to read) or standard output (to write)."""
        return self.local is None and self.url is None

    @property
    def whole(self) -> str:
        """All of it, for fsspec: a URL with whatever it carries. Not for messages."""
        return str(self.local) if self.local is not None else self.url or STREAM

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.local.name if self.local is not None else self.whole.rpartition("/")[2]

    def beside(self, name: str) -> Address:
        """A file in the same folder."""
        if self.local is not None:
            return Address(self.local.with_name(name))
        head, separator, _ = self.whole.rpartition("/")
        return Address(url=f"{head}{separator}{name}") if separator else Address(Path(name))

    def below(self, name: str) -> Address:
        """A file in this folder."""
        return Address(self.local / name) if self.local is not None else Address(url=f"{self.whole.rstrip('/')}/{name}")

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Its bytes, to read. Raises DataError where a file or URL cannot be opened."""
        if self.url is not None:
            with remote(self.url, str(self)) as stream:
                yield stream
        elif self.local is not None:
            with open_file(self.local) as stream:
                yield stream
        else:
            yield sys.stdin.buffer

    @contextlib.contextmanager
    def file_system(self, what: str = "the output") -> Iterator[tuple[Any, str]]:
        """fsspec's file system to write to, and the path in it. Whatever it says inside is an OutputError about ``what``."""

        def refused(why: str) -> OutputError:
            return unwritable(self, why, "check the address and your rights there", what=what)

        with file_system(self.whole, refused) as found:
            yield found

    def __str__(self) -> str:
        return self.whole if self.url is None else without_credentials(self.url)

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


@contextlib.contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turns what the file system refuses inside into a DataError about the file."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror}; check the path and its rights", path=path
        ) from None


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The file to read. Raises DataError where it cannot be opened."""
    with reading(path):
        stream = path.open("rb")
    with stream:
        yield stream


def text_of(path: Path) -> str:
    """The whole text of a file in UTF-8, with a byte order mark or without. Raises DataError."""
    try:
        with reading(path):
            return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8 (byte {error.start}); save it as UTF-8", path=path) from None


def file_digest(path: Path | str) -> str:
    """SHA-256 in hex of a file of the user's. Raises DataError where it cannot be read."""
    with reading(path):
        return sha256_file(Path(path))


@contextlib.contextmanager
def target(out: Address) -> Iterator[BinaryIO]:
    """A stream whose bytes become ``out``. Raises OutputError; what stood there before then still stands."""
    if out.local is not None:
        with replacing(out.local, mode=PRIVATE) as stream:
            yield cast(BinaryIO, _Flowing(stream))
    elif out.url is not None:
        with _uploaded(out) as stream:
            yield stream
    else:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()


class _Flowing:
    """Sends bytes to the disk on the way, and out of the page cache, which a large file would push everything out of.

    It must be on the disk before it is renamed in any case; and new pages for gigabytes cost more than writing does.
    """

    def __init__(self, inner: BinaryIO) -> None:
        self._inner, self._size, self._sent = inner, 0, 0
        self.name = inner.name

    def flush(self) -> None:
        self._inner.flush()

    def write(self, data: bytes | memoryview) -> int:
        self._inner.write(data)
        self._size += len(data)
        if self._size - self._sent >= _FLOW and hasattr(os, "posix_fadvise"):
            self._inner.flush()
            # Pages on their way are dropped by a later call, so it starts somewhat further back. No file system must take advice.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._inner.fileno(), max(0, self._sent - 4 * _FLOW), 0, os.POSIX_FADV_DONTNEED)
            self._sent = self._size
        return len(data)


def written_before(address: Address) -> bytes | None:
    """What a small file holds, None where there is none. Raises OutputError where it cannot be read."""

    def refused(why: str) -> OutputError:
        return OutputError(
            f"what stands there cannot be read: {why}; it would be replaced, so name another place", path=str(address)
        )

    try:
        if address.local is not None:
            return address.local.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refused(error.strerror or str(error)) from error
    with file_system(address.whole, refused) as (system, path):
        try:
            return bytes(system.cat_file(path))
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def _uploaded(out: Address) -> Iterator[BinaryIO]:
    """Collects the bytes here and sends them at the end, so that a crash leaves the old object."""
    with spool_folder() as folder:
        with replacing(folder / "data", mode=PRIVATE) as local:
            yield local
        with out.file_system() as (system, path):
            system.put_file(str(folder / "data"), path)
