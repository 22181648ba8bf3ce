"""Addresses that fsspec opens: the one place where errors of other people's file systems are turned into ours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn, cast

from watchword.errors import DataError

# Where a URL carries a password or a key: before the host, and behind a question mark.
_USER, _QUERY = re.compile(r"(?<=://)[^/@\s?#]+@"), re.compile(r"\?[^\s'\"#)]+")


@contextlib.contextmanager
def remote(url: str, label: str) -> Iterator[BinaryIO]:
    """The bytes at a URL. Raises DataError, with ``label``, for whatever its file system says while reading."""
    import fsspec

    try:
        opened = fsspec.open(url, "rb")
        stream = opened.open()
    except Exception as error:  # noqa: BLE001 -- boundary: a file system of fsspec raises whatever its libraries raise
        _refuse(url, label, error)
    with contextlib.closing(opened):
        yield cast(BinaryIO, _Reader(stream, url, label))


class _Reader:
    """A foreign stream; its own class keeps our errors while spooling apart from those of the file system."""

    def __init__(self, stream: Any, url: str, label: str) -> None:
        self._stream, self._url, self._label = stream, url, label

    def read(self, size: int = -1) -> bytes:
        try:
            return bytes(self._stream.read(size))
        except Exception as error:  # noqa: BLE001 -- the same boundary
            _refuse(self._url, self._label, error)


def _refuse(url: str, label: str, error: Exception) -> NoReturn:
    if _is_folder(url):
        problem = "the address is a folder; give the address of one file, or copy the folder and give its local path"
        raise DataError(problem, path=label) from None
    why = (isinstance(error, OSError) and error.strerror) or str(error) or "no reason given"
    why = without_credentials(why.replace(url, label))
    raise DataError(
        f"the address cannot be opened: {type(error).__name__}: {why}; give a local path or an fsspec URL that can be "
        "read from here",
        path=label,
    ) from None


def without_credentials(text: str) -> str:
    """The text with ``…`` for what its URLs carry before the host and behind a question mark."""
    return _QUERY.sub("?…", _USER.sub("…@", text)) if "://" in text else text


def _is_folder(url: str) -> bool:
    import fsspec.core

    try:
        files, path = fsspec.core.url_to_fs(url)
        return bool(files.isdir(path))
    except Exception:  # noqa: BLE001 -- the same boundary; what went wrong was said of opening already
        return False
