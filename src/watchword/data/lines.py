"""Bytes → numbered rows of bytes, before anything is parsed: JSON lines, or one JSON array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from watchword.data.limits import USUAL, Limits
from watchword.data.parse import broken_json
from watchword.errors import DataError

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# Bytes of the first row that are looked at.
_LOOK = 1 << 16
# A line's end and a byte order mark.
_ROOM = 5
# Never valid inside JSON, wherever it stands.
_CARRIAGE_RETURN = re.compile(rb"\}[ \t]*\r[\r \t]*\{")
# Column names with a separator between them.
_CSV_HEADER = re.compile(rb"\s*\"?[A-Za-z_][\w .-]*\"?(?:[,;\t]\"?[A-Za-z_][\w .-]*\"?)+\s*$")
_PACKED = {b"\x1f\x8b": "compressed (gzip)", b"\x28\xb5\x2f\xfd": "compressed (zstd)", b"PAR1": "a Parquet table"}
# How the second line of indented JSON begins.
_CONTINUED = re.compile(rb"[ \t]+[\"{}\[\]]|[\"}\]]")


def numbered_rows(
    stream: BinaryIO, path: Path | str | None = None, limits: Limits = USUAL
) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes of one row); blank lines are left out, a byte order mark is taken off.

    A file whose first character is ``[`` is one JSON array, held in memory as a whole; anything else is streamed. Raises
    DataError where the file goes beyond the limits, before it is read further.
    """
    for count, (number, raw) in enumerate(_rows(stream, path, limits), start=1):
        limits.check_rows(count, path)
        limits.check_row(_size(raw), number, path)
        yield number, raw


def _size(line: bytes) -> int:
    return len(line.rstrip(b"\r\n"))


def _rows(stream: BinaryIO, path: Path | str | None, limits: Limits) -> Iterator[tuple[int, bytes]]:
    lines: Iterator[tuple[int, bytes]] = enumerate(_bounded(stream, path, limits), start=1)
    for number, raw in lines:
        line = _without_bom(raw, path) if number == 1 else raw
        if not line.strip():
            continue
        if line.lstrip().startswith(b"["):
            yield from _array_rows(_array_text(line, lines, path, limits), number, path)
            return
        limits.check_row(_size(line), number, path)
        ahead = list(islice(lines, 1))
        check_layout(line, b"".join(text for _, text in ahead), number, path)
        yield number, line
        lines = chain(ahead, lines)
        break
    for number, raw in lines:
        if not raw.isspace():
            yield number, raw


def _bounded(stream: BinaryIO, path: Path | str | None, limits: Limits) -> Iterator[bytes]:
    """The stream's lines; of one that is longer than a row may be, pieces that are longer than a row may be, too."""
    read = 0
    while line := stream.readline(limits.row_bytes + _ROOM):
        read += len(line)
        limits.check_bytes(read, path)
        yield line


def _array_text(first: bytes, lines: Iterator[tuple[int, bytes]], path: Path | str | None, limits: Limits) -> bytes:
    pieces, size = [first], len(first)
    for _, line in lines:
        pieces.append(line)
        size += len(line)
        limits.check_array(size, path)
    return b"".join(pieces)


def check_layout(line: bytes, following: bytes, number: int, path: Path | str | None) -> None:
    """Refuses a file whose first row shows that lines are no rows in it: one message instead of one for every line.

    ``following`` is the line behind the first row's.
    """
    said = _layout_fault(line[:_LOOK], line, following, str(path or ""))
    if said:
        raise DataError(said, path=path, line=number)


def _layout_fault(head: bytes, line: bytes, following: bytes, path: str) -> str:
    for start, name in _PACKED.items():
        if head.startswith(start):
            return f"the file is {name}, and rows are read here as plain JSON lines; unpack it first"
    if b"\0" in head[:4] or (b"\0" in head and not head.lstrip().startswith(b"{")):
        return "the file holds NUL bytes, so it is binary or UTF-16; save the rows as JSON lines in UTF-8"
    if _CARRIAGE_RETURN.search(head):
        return "carriage returns alone stand between the rows; end each line with a line feed"
    if _spread(line, following):
        return "one row is spread over several lines; write each row on one line, or all rows as one JSON array"
    table = path.lower().endswith((".csv", ".tsv")) and not head.lstrip().startswith((b"{", b"["))
    if table or _CSV_HEADER.match(head):
        return (
            "the file is a table in CSV, which is not supported; save its rows as JSON lines or Parquet (in pandas: "
            'to_json(path, orient="records", lines=True))'
        )
    return ""


def _spread(line: bytes, following: bytes) -> bool:
    """Whether an object goes on in the next line; a cut row has a whole one behind it, or nothing."""
    if not line.lstrip().startswith(b"{") or not _CONTINUED.match(following):
        return False
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return False


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
