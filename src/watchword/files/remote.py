"""Addresses that fsspec opens: the one place where errors of other people's file systems are turned into ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn, cast

from watchword.errors import DataError


@contextlib.contextmanager
def remote(source: str) -> Iterator[BinaryIO]:
    """The bytes at an address. Raises DataError, with the address, for whatever its file system says while reading."""
    import fsspec

    try:
        opened = fsspec.open(source, "rb")
        stream = opened.open()
    except Exception as error:  # noqa: BLE001 -- boundary: a file system of fsspec raises whatever its libraries raise
        _refuse(source, error)
    with contextlib.closing(opened):
        yield cast(BinaryIO, _Reader(stream, source))


class _Reader:
    """A foreign stream; its own class keeps our errors while spooling apart from those of the file system."""

    def __init__(self, stream: Any, source: str) -> None:
        self._stream, self._source = stream, source

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._stream.read(size))
        except Exception as error:  # noqa: BLE001 -- the same boundary
            _refuse(self._source, error)


def _refuse(source: str, error: Exception) -> NoReturn:
    if _is_folder(source):
        problem = "the address is a folder; give the address of one file, or copy the folder and give its local path"
        raise DataError(problem, path=source) from None
    why = (isinstance(error, OSError) and error.strerror) or str(error) or "no reason given"
    raise DataError(
        f"the address cannot be opened: {type(error).__name__}: {why}; give a local path or an fsspec URL that can be "
        "read from here",
        path=source,
    ) from None


def _is_folder(source: str) -> bool:
    import fsspec.core

    try:
        files, path = fsspec.core.url_to_fs(source)
        return bool(files.isdir(path))
    except Exception:  # noqa: BLE001 -- the same boundary; what went wrong was said of opening already
        return False
