"""Blobs: the bytes of files, in a local folder or at an fsspec URL, whole or not there at all.

A blob's name begins with the SHA-256 of its bytes and ends in a random part. So what is read can be checked, two tenants
never share a blob, and deleting one deletes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from watchword.errors import DataError, NotFoundError, QuotaError, UsageError
from watchword.files.addresses import Address
from watchword.files.atomic import replacing
from watchword.files.digest import HashingWriter
from watchword.files.folders import PRIVATE_FILE, PRIVATE_FOLDER, spool_folder
from watchword.files.writing import sync_folder, writing
from watchword.secret.stream import decrypted, encrypted
from watchword.secret.wrapping import KeyProvider
from watchword.service.stores import exists, folder_at, store_at, unusable

CHUNK = 1 << 18
# What errors call it.
_WHAT = "the storage"
_NAME = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}")


@dataclass(frozen=True)
class Blob:
    """What was stored: its name, and the digest and size of its bytes."""

    name: str
    sha256: str
    bytes: int


class Blobs:
    """All blobs of a service, below ``url``. ``keys`` are needed for sealed ones only. Threads may share it."""

    def __init__(self, url: str | Path, keys: KeyProvider | None = None) -> None:
        self._place, self._keys = Address.parse(url), keys
        if self._place.is_stream:
            raise UsageError("blobs need a folder or a URL, not a standard stream", param="storage")

    def writer(self, *, most: int | None = None) -> BlobWriter:
        """Takes a blob's bytes as they come: ``write``, then ``commit``. More than ``most`` bytes are a QuotaError."""
        return BlobWriter(self._place, most)

    def put(self, data: bytes | Iterable[bytes], *, most: int | None = None) -> Blob:
        """Stores bytes that are at hand, or come in pieces."""
        with self.writer(most=most) as writer:
            for piece in (data,) if isinstance(data, bytes) else data:
                writer.write(piece)
            return writer.commit()

    def put_sealed(self, data: bytes | Iterable[bytes], binding: Mapping[str, str]) -> Blob:
        """Stores bytes encrypted, under a data key of their own that is wrapped for ``binding``."""
        pieces = (data,) if isinstance(data, bytes) else data
        return self.put(encrypted(pieces, self._wrapping(), binding))

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO]:
        """The bytes of a blob. Raises NotFoundError where it is gone, and StoreError where nobody can tell."""
        place = self._at(name)
        try:
            with place.opened() as stream:
                yield stream
        except (DataError, OSError) as error:
            if isinstance(error, DataError) and error.path is None:
                raise
            if not self.exists(name) and self._is_there():
                raise NotFoundError("the file's content is gone; upload it again") from error
            raise unusable(place, getattr(error, "problem", str(error)), _WHAT) from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes in pieces, to send on."""
        with self.opened(name) as stream:
            while piece := stream.read(CHUNK):
                yield piece

    def sealed_chunks(self, name: str, binding: Mapping[str, str]) -> Iterator[bytes]:
        """What ``put_sealed`` was given, in pieces. Raises UnsealError before the first piece that was changed."""
        with self.opened(name) as stream:
            yield from decrypted(stream, self._wrapping(), binding)

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """A file on this machine with the bytes, whose digest is checked; for reading only.

        Raises NotFoundError, DataError for one that was changed, and StoreError.
        """
        place = self._at(name)
        if place.local is not None:
            self._check(name, self.chunks(name))
            yield place.local
            return
        with spool_folder() as folder:
            copy = folder / "data"
            with replacing(copy, mode=PRIVATE_FILE) as stream:
                self._check(name, self._copied(name, stream))
            yield copy

    def exists(self, name: str) -> bool:
        """Whether there is such a blob. Raises StoreError where nobody can tell."""
        return exists(self._at(name), _WHAT)

    def delete(self, name: str) -> None:
        """Deletes a blob; one that is gone is no error."""
        place = self._at(name)
        if place.local is not None:
            with folder_at(place.local, _WHAT):
                place.local.unlink(missing_ok=True)
            return
        with store_at(place, _WHAT) as (system, path), contextlib.suppress(FileNotFoundError):
            system.rm_file(path)

    def sweep(self, kept: Iterable[str], *, older_than: float) -> int:
        """Deletes blobs that no record names, last changed before ``older_than``: what crashes have left. How many."""
        wanted, gone = set(kept), 0
        with store_at(self._place, _WHAT) as (system, path):
            try:
                found = system.find(path, detail=True)
            except FileNotFoundError:
                return 0
        for entry, facts in found.items():
            name = str(entry).rpartition("/")[2]
            if _NAME.fullmatch(name) and name not in wanted and changed_at(facts) < older_than:
                self.delete(name)
                gone += 1
        return gone

    def _is_there(self) -> bool:
        """Whether the storage itself is: below a folder that is not mounted, nothing is to be found. A URL has none."""
        return self._place.local is None or exists(self._place, _WHAT)

    def _at(self, name: str) -> Address:
        if not _NAME.fullmatch(name):
            raise NotFoundError("this is no name of a blob")
        return _place_of(self._place, name)

    def _check(self, name: str, pieces: Iterable[bytes]) -> None:
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        if not name.startswith(digest.hexdigest()):
            raise DataError("the file's content was changed in the storage; restore it, or upload it again")

    def _copied(self, name: str, target: BinaryIO) -> Iterator[bytes]:
        for piece in self.chunks(name):
            target.write(piece)
            yield piece

    def _wrapping(self) -> KeyProvider:
        if self._keys is None:
            raise UsageError("sealed blobs need the provider's key", param="keys")
        return self._keys


class BlobWriter:
    """A blob that is being written, on this machine's disk. It is gone unless ``commit`` is called."""

    def __init__(self, place: Address, most: int | None) -> None:
        self._place, self._most = place, most
        self._held = contextlib.ExitStack()
        self._spool = self._held.enter_context(spool_folder(_spools(place))) / "data"
        self._stream = self._held.enter_context(open(self._spool, "xb", opener=_private))  # noqa: SIM115 -- held until discard
        self._hashing = HashingWriter(self._stream)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._hashing.size

    def write(self, data: bytes | memoryview) -> None:
        """The next piece. Raises QuotaError once there are too many bytes, OutputError where the disk refuses."""
        if self._most is not None and self.size + len(data) > self._most:
            raise QuotaError(f"the file is larger than {self._most} bytes, the most that is taken", param="file")
        with writing(self._spool):
            self._hashing.write(data)

    def commit(self) -> Blob:
        """Puts the blob in place and tells what it is. Once this returns, a power cut does not lose it."""
        sha256 = self._hashing.hexdigest()
        name = f"{sha256}.{secrets.token_hex(8)}"
        target = _place_of(self._place, name)
        with writing(self._spool):
            _synced(self._stream)
            self._stream.close()
        _put(self._spool, target)
        blob = Blob(name, sha256, self.size)
        self.discard()
        return blob

    def discard(self) -> None:
        """Removes what was written and not committed."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


def _place_of(below: Address, name: str) -> Address:
    """Two letters make a folder, so that no folder grows too long."""
    return below.below(name[:2]).below(name)


def _spools(place: Address) -> Path | None:
    """Below the storage itself where that is local, so that a finished file is renamed, not copied."""
    if place.local is None:
        return None
    folder = place.local / "spool"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    return folder


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)


def _synced(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _put(spool: Path, target: Address) -> None:
    if target.local is not None:
        with folder_at(target.local, _WHAT):
            target.local.parent.mkdir(exist_ok=True, mode=PRIVATE_FOLDER)
            spool.replace(target.local)
            sync_folder(target.local.parent)
        return
    with store_at(target, _WHAT) as (system, path):
        system.put_file(str(spool), path)


def changed_at(facts: Mapping[str, Any]) -> float:
    """When an object was written; now, for a file system that does not say."""
    found = next((facts[name] for name in ("mtime", "LastModified", "created", "updated") if name in facts), None)
    stamp = getattr(found, "timestamp", None)
    if stamp is not None:
        return float(stamp())
    return float(found) if isinstance(found, int | float) else time.time()
