"""SHA-256 in hex: of bytes, and of files and streams in constant memory."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

# Bytes from which handing a piece to a thread costs less than hashing it.
_LONG = 1 << 16


def sha256_bytes(data: bytes) -> str:
    """Of these bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Of one file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_files(paths: Sequence[Path]) -> str:
    """Of one file's bytes; of several, of the lines that ``sha256sum`` prints for their names."""
    return sha256_file(paths[0]) if len(paths) == 1 else sha256_listed((sha256_file(path), path.name) for path in paths)


def sha256_listed(digests: Iterable[tuple[str, str]]) -> str:
    """Of the lines that ``sha256sum`` prints for files of these digests and names."""
    return sha256_bytes("".join(f"{digest}  {name}\n" for digest, name in digests).encode())


class HashingReader(io.RawIOBase):
    """A stream that is hashed as it is read."""

    def __init__(self, inner: BinaryIO) -> None:
        self._inner, self._hash, self.size = inner, hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._inner.read(len(view))
        view[: len(data)] = data
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def hexdigest(self) -> str:
        """Of what has been read so far."""
        return self._hash.hexdigest()


class HashingWriter:
    """Writes to a stream and knows the digest and size of what it wrote.

    With ``beside``, long pieces are hashed there while the next one is made; at most one of them waits.
    """

    def __init__(self, inner: BinaryIO, beside: Executor | None = None) -> None:
        self._inner, self._hash, self.size = inner, hashlib.sha256(), 0
        self._beside = beside
        self._pending: Future[None] | None = None

    def write(self, data: bytes | memoryview) -> int:
        self._settle()
        # A view's bytes may be others by then.
        if self._beside is not None and isinstance(data, bytes) and len(data) >= _LONG:
            self._pending = self._beside.submit(self._hash.update, data)
        else:
            self._hash.update(data)
        self._inner.write(data)
        self.size += len(data)
        return len(data)

    def hexdigest(self) -> str:
        """Of what has been written so far."""
        self._settle()
        return self._hash.hexdigest()

    def _settle(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None
