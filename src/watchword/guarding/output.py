"""Where guarded data goes: a local file, an fsspec URL, or standard output; private, and whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from watchword.chat.files import replacing
from watchword.errors import OutputError

STDOUT = "-"
# The secret stands in the data in the clear.
PRIVATE = 0o600
# What fsspec calls this machine's own files; by its way they would be open to all, and written in place.
_LOCAL = ("file://", "local://")


def plain(address: str) -> str:
    """The address without the ``file://`` of a local file, so that it is treated like any other; ``~`` as fsspec reads it."""
    for prefix in _LOCAL:
        if address.startswith(prefix):
            path = address.removeprefix(prefix)
            return os.path.expanduser(path) if path.startswith("~") else path  # noqa: PTH111 -- of text, not of a path
    return address


def is_local(address: str) -> bool:
    """Whether it names a file here, rather than a standard stream or a URL."""
    return address != STDOUT and "://" not in plain(address)


@contextlib.contextmanager
def target(out: str) -> Iterator[BinaryIO]:
    """A stream whose bytes become ``out``. Raises OutputError; what stood there before then still stands."""
    if out == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif is_local(out):
        with replacing(Path(plain(out)), mode=PRIVATE) as stream:
            yield stream
    else:
        with _uploaded(out) as stream:
            yield stream


def beside(out: str, name: str) -> str:
    """The address of a file in the folder of ``out``."""
    head, separator, _ = out.rpartition("/")
    return f"{head}{separator}{name}"


def written_before(address: str) -> bytes | None:
    """What a small file holds, None where there is none. Raises OutputError where it cannot be read."""
    try:
        if is_local(address):
            return Path(plain(address)).read_bytes()
        import fsspec

        with fsspec.open(address, "rb") as stream:
            return cast(bytes, stream.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ImportError) as error:
        raise OutputError(f"{address} cannot be read: {error}; it would be replaced, so name another place") from error


@contextlib.contextmanager
def _uploaded(url: str) -> Iterator[BinaryIO]:
    """Collects the bytes here and sends them at the end, so that a crash leaves the old object."""
    import fsspec

    with tempfile.NamedTemporaryFile(prefix=".watchword-") as local:
        yield cast(BinaryIO, local)
        local.flush()
        try:
            system, path = fsspec.url_to_fs(url)
            system.put_file(local.name, path)
        except (OSError, ValueError, ImportError) as error:
            raise OutputError(f"{url} cannot be written: {error}; check the address and your rights there") from error
