"""gzip and zstd, known by their first bytes rather than by a file's name; other packings are refused by name."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from typing import Any, BinaryIO, cast

from watchword.errors import DataError, UsageError

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

# Bytes of zstd taken at once: one kilobyte becomes at most 32 MB, so limits are seen before memory is full.
_ZSTD_PIECE = 1 << 10
# A frame that decoders skip (RFC 8878, 3.1.2); parallel compressors write one in front.
_SKIPPED = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_OTHERS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"\x04\x22\x4d\x18": "lz4",
    b"Rar!": "RAR",
}


class CorruptStreamError(Exception):
    """Compressed bytes that do not decompress, whichever library said so."""


CORRUPT = (CorruptStreamError, gzip.BadGzipFile, EOFError, zlib.error)


def decompressed(stream: BinaryIO, label: str | None = None) -> BinaryIO:
    """The stream itself if it is not compressed, else one that decompresses it. ``stream`` must be able to peek.

    Raises DataError for a packing that is known and not read.
    """
    head: bytes = cast(Any, stream).peek(8)[:8]
    if head.startswith(GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if head.startswith(ZSTD) or _SKIPPED.match(head):
        return cast(BinaryIO, io.BufferedReader(_Zstd(stream), 1 << 20))
    for start, name in _OTHERS.items():
        if head.startswith(start):
            raise DataError(f"the file is {name}; unpack it, or compress it with gzip or zstd", path=label)
    return stream


class _Zstd(io.RawIOBase):
    """A zstd stream of one or more frames whose errors are ours, and which notices that it was cut."""

    def __init__(self, stream: BinaryIO) -> None:
        try:
            import zstandard
        except ImportError:
            raise UsageError("reading zstd needs the extra 'guard': pip install 'watchword[guard]'") from None
        self._stream, self._left, self._error = stream, b"", zstandard.ZstdError
        self._new = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._new()
        self._inside = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            data = self._frame.unused_data if self._frame.eof else self._stream.read(_ZSTD_PIECE)
            if self._frame.eof:
                self._frame, self._inside = self._new(), False
                data = data or self._stream.read(_ZSTD_PIECE)
            if not data:
                return self._ended()
            self._left, self._inside = self._more(data), True
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def _more(self, data: bytes) -> bytes:
        try:
            return bytes(self._frame.decompress(data))
        except self._error as error:
            raise CorruptStreamError(str(error)) from None

    def _ended(self) -> int:
        if self._inside and not self._frame.eof:
            raise CorruptStreamError("the zstd stream ends in the middle of a frame")
        return 0
