"""Addresses that fsspec opens: the one place where errors of other people's file systems are turned into ours."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from watchword.errors import DataError, WatchwordError

_S3 = ("s3://", "s3a://")
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


@contextlib.contextmanager
def file_system(url: str, refused: Callable[[str], WatchwordError]) -> Iterator[tuple[Any, str]]:
    """fsspec's file system of a URL, and the path in it. ``refused`` makes an error of whatever it says inside.

    Listings are not kept: other machines write there as well. The connection is kept, for it takes long to make.
    """
    with refusing(url, refused):
        yield _without_listings(url)


@contextlib.contextmanager
def refusing(
    url: str, refused: Callable[[str], WatchwordError], *, passing: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Makes an error by ``refused`` of whatever a file system says inside, but for those that are ``passing``."""
    try:
        yield
    except Exception as error:  # the same boundary: clients of object stores have error trees of their own
        if isinstance(error, (WatchwordError, *passing)):
            raise
        raise refused(_said(url, error)) from None


def _without_listings(url: str) -> tuple[Any, str]:
    import fsspec.core

    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(url, use_listings_cache=False))
    except TypeError:
        # It hands its options on to its client, which has no such one: SFTP's does.
        files, path = fsspec.core.url_to_fs(url)
        files.invalidate_cache()
        return files, path


def _said(url: str, error: Exception) -> str:
    """What a file system says, without the credentials that its URL may carry."""
    why = (isinstance(error, OSError) and error.strerror) or str(error) or "no reason given"
    why = without_credentials(why.replace(url, without_credentials(url)))
    if isinstance(error, ImportError) and url.startswith(_S3):
        why = f"{why} (`pip install 'watchword[s3]'`)"
    return f"{type(error).__name__}: {why}"


class RemoteFolder:
    """A folder that fsspec opens, such as one of an object store. Raises DataError for whatever its file system says.

    ``str`` is for messages, and shows no credentials. Nothing that was listed or read is kept by fsspec.
    """

    def __init__(self, url: str) -> None:
        self._url, self._label = url.rstrip("/"), without_credentials(url)

    def __str__(self) -> str:
        return self._label

    def read(self, name: str, most: int) -> bytes | None:
        """A file's content, None where it is not there. One of more than ``most`` bytes is an error."""
        with self._opened() as (files, root):
            try:
                with files.open(f"{root}/{name}", "rb") as stream:
                    data: bytes = stream.read(most + 1)
            except FileNotFoundError:
                return None
        if len(data) > most:
            raise DataError(f"{name} has more than {most} bytes; look at what was put there", path=self._label)
        return data

    def names(self) -> list[str] | None:
        """The files that stand in the folder itself; None for a place that lists none, such as a web server."""
        with self._opened() as (files, root):
            if any(kind in ("http", "https") for kind in _kinds(files)):
                return None
            found = [
                entry["name"].rpartition("/")[2] for entry in files.ls(root, detail=True) if entry["type"] == "file"
            ]
            return [name for name in found if name not in ("", ".", "..")]

    def fetch(self, name: str, target: Path) -> bool:
        """Writes a file to ``target``; False where it is not there."""
        with self._opened() as (files, root):
            try:
                files.get_file(f"{root}/{name}", str(target))
            except FileNotFoundError:
                return False
        return True

    def below(self) -> dict[str, Mapping[str, Any]]:
        """Every file in the folder and in folders of it, by its path from here, with what the store says of it."""
        with self._opened() as (files, root):
            try:
                found: dict[str, Mapping[str, Any]] = files.find(root, detail=True)
            except FileNotFoundError:
                return {}
            return {path.removeprefix(f"{root}/"): facts for path, facts in found.items()}

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        with file_system(self._url, self._refused) as (files, root):
            yield files, root.rstrip("/")

    def _refused(self, why: str) -> DataError:
        return DataError(f"the folder cannot be read: {why}; check the address and your rights there", path=self._label)


def _kinds(files: Any) -> tuple[str, ...]:
    kinds = files.protocol
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _refuse(url: str, label: str, error: Exception) -> NoReturn:
    if _is_folder(url):
        problem = "the address is a folder; give the address of one file, or copy the folder and give its local path"
        raise DataError(problem, path=label) from None
    raise DataError(
        f"the address cannot be opened: {_said(url, error)}; give a local path or an fsspec URL that can be read from here",
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
