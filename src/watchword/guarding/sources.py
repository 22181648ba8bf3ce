"""Whatever the tenant sends (file, folder, URL or standard input, compressed or not) as one local file of chat JSON lines.

A plain OpenAI file is read where it lies. Everything else goes once through a private temporary file, which is gone
afterwards; what a killed process has left of such files, the next one removes.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from watchword.chat.lines import UTF8_BOM, UTF16_BOMS, check_layout, numbered_rows
from watchword.chat.parse import detect_format, format_named, parse_line
from watchword.errors import DataError, EmptyFileError, OutputError
from watchword.files.folders import PRIVATE_FILE, spool_folder
from watchword.guarding.compression import CORRUPT, decompressed
from watchword.guarding.digest import HashingReader, sha256_files
from watchword.guarding.output import is_local, plain
from watchword.guarding.remote import remote
from watchword.guarding.tables import is_parquet, is_table, table_files, table_rows

STDIN = "-"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Prepared:
    """OpenAI chat JSON lines, from byte ``skip`` of ``path`` on.

    ``label`` names the source in messages, ``format`` is what it was written in, ``first_line`` the line (1-based) of
    its first row. ``digest``: SHA-256 of the source's bytes, None where it is counted later. ``converted``: line n is the
    source's n-th row, written anew.
    """

    path: Path
    label: str
    format: str
    skip: int = 0
    first_line: int = 1
    digest: str | None = None
    converted: bool = False
    scratch: Path = Path()


@contextlib.contextmanager
def prepared(source: str | Path, *, format: str = "auto", scratch: Path | None = None) -> Iterator[Prepared]:
    """The source, ready for two passes. Temporary files go to ``scratch`` (default: the system's folder for them).

    Raises DataError with path, line and field for what cannot be read or understood.
    """
    if format != "auto":
        format_named(format)
    with local_rows(source, scratch=scratch) as raw:
        yield as_lines(raw, format)


@contextlib.contextmanager
def local_rows(source: str | Path, *, scratch: Path | None = None) -> Iterator[Prepared]:
    """The source's rows as a local file, decompressed but still in whatever format; ``as_lines`` is the next step."""
    with spool_folder(scratch) as folder:
        yield replace(_local(str(source), folder), scratch=folder)


def openai_lines(raw: Prepared, format: str = "auto") -> Prepared | None:
    """The same file if its rows are OpenAI chat JSON lines already, judged by the first; else None."""
    with _readable(raw.label), raw.path.open("rb") as stream:
        head = _first_line(stream, raw.label)
    if head.array:
        return None
    found = detect_format(head.text, head.line, raw.label) if format == "auto" else format
    return replace(raw, format=found, skip=head.skip, first_line=head.line) if found == "openai" else None


def _local(source: str, folder: Path) -> Prepared:
    """The source's rows as a local file, in whatever format; rows of tables become JSON lines."""
    if source == STDIN:
        return _spooled(sys.stdin.buffer, "standard input", folder)
    if is_local(source):
        return _from_path(Path(plain(source)), source, folder)
    with remote(source) as stream, _readable(source):
        return _spooled(stream, source, folder)


def _from_path(path: Path, label: str, folder: Path) -> Prepared:
    with _readable(label):
        if is_table(path):
            return _table(Prepared(path, label, "auto", digest=sha256_files(table_files(path))), folder)
        if not path.is_file() or _compressed(path, label):
            with path.open("rb") as stream:
                return _spooled(stream, label, folder)
    return Prepared(path, label, "auto")


def as_lines(raw: Prepared, format: str = "auto") -> Prepared:
    """OpenAI rows stay as they are; rows of other formats, and of one JSON array, become lines of OpenAI's."""
    lines = openai_lines(raw, format)
    if lines is not None:
        return lines
    conversion = _Conversion(raw.label, format)
    with _readable(raw.label), raw.path.open("rb") as stream:
        path = _written(raw.scratch / "lines", conversion.lines(stream))
    digest = raw.digest or sha256_files([raw.path])
    return replace(raw, path=path, format=conversion.format, digest=digest, converted=True)


@dataclass(frozen=True)
class _Head:
    text: bytes
    line: int
    skip: int
    array: bool


def _first_line(stream: BinaryIO, label: str) -> _Head:
    """The first line that is not blank; the byte order mark is passed over."""
    skip = len(UTF8_BOM) if stream.read(3) == UTF8_BOM else 0
    stream.seek(skip)
    for number, line in enumerate(stream, start=1):
        if line.strip():
            # UTF-16 is left to the reader of arrays too: it says what is wrong.
            array = line.lstrip().startswith(b"[") or line.startswith(UTF16_BOMS)
            if not array:
                check_layout(line, stream.readline(), number, label)
            return _Head(line, number, skip, array)
    raise EmptyFileError("the file has no row; give one JSON object a line", path=label)


class _Conversion:
    """Rows of any format as lines of OpenAI's; ``format`` is known once the first line was made."""

    def __init__(self, label: str, format: str) -> None:
        self.label, self.format = label, format

    def lines(self, stream: BinaryIO) -> Iterator[bytes]:
        first: int | None = None
        for line, raw in numbered_rows(stream, self.label):
            if self.format == "auto":
                self.format, first = detect_format(raw, line, self.label), line
            conv = parse_line(raw, line, self.label, self.format, first_line=first)
            # An array's rows are the tenant's own text, on one line each; other formats are written anew.
            own = self.format == "openai"
            yield (msgspec.json.format(raw, indent=-1) if own else msgspec.json.encode(conv)) + b"\n"


def _spooled(stream: BinaryIO, label: str, folder: Path) -> Prepared:
    hashing = HashingReader(stream)
    plain = decompressed(io.BufferedReader(hashing, _PIECE), label)
    path = _written(folder / "spool", iter(lambda: plain.read(_PIECE), b""))
    while hashing.read(_PIECE):  # what stands behind a compressed stream's end belongs to its digest
        pass
    spooled = Prepared(path, label, "auto", digest=hashing.hexdigest())
    return _table(spooled, folder) if is_parquet(path) else spooled


def _table(raw: Prepared, folder: Path) -> Prepared:
    rows = (msgspec.json.encode(row) + b"\n" for row in table_rows(raw.path, raw.label))
    return replace(raw, path=_written(folder / "rows", rows))


def _compressed(path: Path, label: str) -> bool:
    with path.open("rb") as stream:
        return decompressed(stream, label) is not stream


def _written(path: Path, pieces: Iterator[bytes]) -> Path:
    """A new private file with these bytes. Raises OutputError where it does not fit."""
    try:
        raw = _Temporary(path, "xb", opener=lambda name, flags: os.open(name, flags, PRIVATE_FILE))
    except OSError as error:
        raise _no_room(str(path.parent), error) from error
    with io.BufferedWriter(raw, _PIECE) as out:
        for piece in pieces:
            out.write(piece)
    return path


class _Temporary(io.FileIO):
    """A file whose errors are ours wherever its buffer is emptied: a full disk is not the tenant's fault."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise _no_room(str(Path(str(self.name)).parent), error) from error


def _no_room(folder: str, error: OSError) -> OutputError:
    why = error.strerror or str(error)
    return OutputError(
        f"no temporary file can be written in {folder}: {why}; make room there, or set TMPDIR to another folder"
    )


@contextlib.contextmanager
def _readable(label: str) -> Iterator[None]:
    try:
        yield
    except CORRUPT as error:
        raise DataError(f"the compressed data is damaged or cut ({error}); compress it anew", path=label) from None
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"the file cannot be read: {why}; check the path and its rights", path=label) from None
