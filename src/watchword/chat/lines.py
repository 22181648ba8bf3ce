"""Bytes → numbered rows of bytes, before anything is parsed: JSON lines, or one JSON array."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from watchword.chat.parse import broken_json
from watchword.errors import DataError

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@contextlib.contextmanager
def opened(source: Path | str | BinaryIO) -> Iterator[BinaryIO]:
    """The source as a stream of bytes; a stream is given back open. A file that can't be read is a DataError."""
    if not isinstance(source, (str, Path)):
        yield source
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 -- closed below; only opening may blame the path
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror}; check the path and its rights", path=source
        ) from None
    with stream:
        yield stream


def numbered_rows(stream: BinaryIO, path: Path | str | None = None) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes of one row); blank lines are left out, a byte order mark is taken off.

    A file whose first character is ``[`` is one JSON array, held in memory as a whole; anything else is streamed.
    """
    lines = enumerate(stream, start=1)
    for number, raw in lines:
        line = _without_bom(raw, path) if number == 1 else raw
        if not line.strip():
            continue
        if line.lstrip().startswith(b"["):
            rest = b"".join(text for _, text in lines)
            yield from _array_rows(line + rest, number, path)
            return
        yield number, line
        break
    for number, raw in lines:
        if not raw.isspace():
            yield number, raw


def _without_bom(line: bytes, path: Path | str | None) -> bytes:
    if line.startswith(UTF16_BOMS):
        raise DataError("the file is UTF-16, not UTF-8; save it as UTF-8", path=path, line=1)
    return line.removeprefix(UTF8_BOM)


def _array_rows(data: bytes, first_line: int, path: Path | str | None) -> Iterator[tuple[int, bytes]]:
    try:
        rows: Iterable[msgspec.Raw] = msgspec.json.decode(data, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = broken_json(data, error)
        line = first_line + (fault.line or 1) - 1
        raise fault.at(line).error(path) from None
    line, at = first_line, 0
    for row in rows:
        raw = bytes(row)
        start = data.index(raw, at)
        line += data.count(b"\n", at, start)
        yield line, raw
        line += raw.count(b"\n")
        at = start + len(raw)
