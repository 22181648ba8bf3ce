"""Where guarded data goes: a local file, an fsspec URL, or standard output; private, and whole or not at all."""

from __future__ import annotations

import contextlib
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


def is_local(address: str) -> bool:
    """Whether it names a file here, rather than a standard stream or a URL."""
    return address != STDOUT and "://" not in address


@contextlib.contextmanager
def target(out: str) -> Iterator[BinaryIO]:
    """A stream whose bytes become ``out``. Raises OutputError; what stood there before then still stands."""
    if out == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif "://" in out:
        with _uploaded(out) as stream:
            yield stream
    else:
        with replacing(Path(out), mode=PRIVATE) as stream:
            yield stream


def write_beside(out: str, name: str, text: bytes) -> str:
    """Writes a small file into the folder of ``out`` and returns its address."""
    head, separator, _ = out.rpartition("/")
    address = f"{head}{separator}{name}"
    with target(address) as stream:
        stream.write(text)
    return address


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
