"""Where guarded data goes: a local file, an fsspec URL, or standard output; private, and whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from watchword.errors import OutputError
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE, spool_folder

STDOUT = "-"
# The secret stands in the data in the clear.
PRIVATE = PRIVATE_FILE
# What fsspec calls this machine's own files; by its way they would be open to all, and written in place.
_LOCAL = ("file://", "local://")
# Bytes that may wait before they are sent to the disk.
_FLOW = 1 << 26


def without_scheme(address: str) -> str:
    """The address without the ``file://`` of a local file, so that it is treated like any other; ``~`` as fsspec reads it."""
    for prefix in _LOCAL:
        if address.startswith(prefix):
            path = address.removeprefix(prefix)
            return os.path.expanduser(path) if path.startswith("~") else path  # noqa: PTH111 -- of text, not of a path
    return address


def is_local(address: str) -> bool:
    """Whether it names a file here, rather than a standard stream or a URL."""
    return address != STDOUT and "://" not in without_scheme(address)


@contextlib.contextmanager
def target(out: str) -> Iterator[BinaryIO]:
    """A stream whose bytes become ``out``. Raises OutputError; what stood there before then still stands."""
    if out == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif is_local(out):
        with replacing(Path(without_scheme(out)), mode=PRIVATE) as stream:
            yield cast(BinaryIO, _Flowing(stream))
    else:
        with _uploaded(out) as stream:
            yield stream


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


def beside(out: str, name: str) -> str:
    """The address of a file in the folder of ``out``."""
    if is_local(out):
        return str(Path(without_scheme(out)).with_name(name))
    head, separator, _ = out.rpartition("/")
    return f"{head}{separator}{name}"


def written_before(address: str) -> bytes | None:
    """What a small file holds, None where there is none. Raises OutputError where it cannot be read."""
    try:
        if is_local(address):
            return Path(without_scheme(address)).read_bytes()
        import fsspec

        with fsspec.open(address, "rb") as stream:
            return cast(bytes, stream.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ImportError) as error:
        raise OutputError(
            f"what stands there cannot be read: {error}; it would be replaced, so name another place", path=address
        ) from error


@contextlib.contextmanager
def _uploaded(url: str) -> Iterator[BinaryIO]:
    """Collects the bytes here and sends them at the end, so that a crash leaves the old object."""
    import fsspec

    with spool_folder() as folder:
        with replacing(folder / "data", mode=PRIVATE) as local:
            yield local
        try:
            system, path = fsspec.url_to_fs(url)
            system.put_file(str(folder / "data"), path)
        except (OSError, ValueError, ImportError) as error:
            raise OutputError(
                f"the output cannot be written: {error}; check the address and your rights there", path=url
            ) from error
