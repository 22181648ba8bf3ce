"""Whatever the tenant sends (file, folder, URL or standard input, compressed or not) as one local file of chat JSON lines.

A plain OpenAI file is read where it lies. Everything else goes once through a private temporary file, which is gone
afterwards. A killed process may leave such a file, and the next one removes it.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from watchword.data.compression import CORRUPT, decompressed
from watchword.data.limits import Limits
from watchword.data.lines import UTF8_BOM, UTF16_BOMS, check_layout, numbered_rows
from watchword.data.parse import detect_format, format_named, is_written_so, read_line
from watchword.data.prepared import Prepared, changed, file_state
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks
from watchword.data.tables import is_parquet, is_table, table_files, table_rows
from watchword.errors import DataError, EmptyFileError, OutputError
from watchword.files.addresses import Address
from watchword.files.digest import HashingReader, sha256_files
from watchword.files.folders import PRIVATE_FILE, spool_folder

_PIECE = 1 << 20


@contextlib.contextmanager
def prepared(
    source: Address, *, format: str = "auto", scratch: Path | None = None, reading: Reading = AS_IT_IS
) -> Iterator[Prepared]:
    """The source, ready for two passes. Temporary files go to ``scratch`` (default: the system's folder for them).

    Raises DataError with path, line and field for what cannot be read or understood.
    """
    if format != "auto":
        format_named(format)
    with local_rows(source, scratch=scratch, reading=reading) as raw:
        yield as_lines(raw, format, reading)


@contextlib.contextmanager
def local_rows(source: Address, *, scratch: Path | None = None, reading: Reading = AS_IT_IS) -> Iterator[Prepared]:
    """The source's rows as a local file, decompressed but still in whatever format; ``as_lines`` is the next step.

    Raises DataError where there is more of them than ``reading`` allows, before that is on the disk.
    """
    with spool_folder(scratch) as folder:
        yield replace(_local(source, folder, reading), scratch=folder)


def openai_lines(raw: Prepared, format: str = "auto", reading: Reading = AS_IT_IS) -> Prepared | None:
    """The same file if its rows are OpenAI chat JSON lines already, judged by the first; else None."""
    with readable(raw.label), raw.path.open("rb") as stream:
        head = _first_line(stream, raw.label, reading.limits)
    if head.array or reading.drops:
        return None
    found = detect_format(head.text, head.line, raw.label) if format == "auto" else format
    if found != "openai" or not is_written_so(head.text):
        return None
    return replace(raw, format=found, skip=head.skip, first_line=head.line)


def own_rows(raw: Prepared, reading: Reading = AS_IT_IS) -> tuple[Prepared, DataError | None]:
    """The rows as they are, one a line, to be looked at where they lie; and why nothing behind them could be read.

    Raises EmptyFileError for a file without rows, and DataError where its first row shows that it holds none.
    """
    with readable(raw.label), raw.path.open("rb") as stream:
        head = _first_line(stream, raw.label, reading.limits)
    return _array_rows(raw, reading) if head.array else (replace(raw, skip=head.skip, first_line=head.line), None)


def _array_rows(raw: Prepared, reading: Reading) -> tuple[Prepared, DataError | None]:
    """Each row of an array on a line of its own. Of an array that is broken as a whole there are none."""
    lines: list[int] = []
    stopped: list[DataError] = []

    def rows(stream: BinaryIO) -> Iterator[bytes]:
        try:
            for line, row in numbered_rows(stream, raw.label, reading.limits):
                lines.append(line)
                yield msgspec.json.format(row, indent=-1) + b"\n"
        except DataError as error:
            stopped.append(error)

    with readable(raw.label), raw.path.open("rb") as stream:
        path = _written(raw.scratch / "array", rows(stream))
    return replace(raw, path=path, lines=lines), next(iter(stopped), None)


def _local(source: Address, folder: Path, reading: Reading) -> Prepared:
    """The source's rows as a local file, in whatever format; rows of tables become JSON lines."""
    if source.local is not None:
        return _from_path(source.local, str(source), folder, reading)
    label = "standard input" if source.is_stream else str(source)
    with source.opened() as stream, readable(label):
        return _spooled(stream, label, folder, reading)


def _from_path(path: Path, label: str, folder: Path, reading: Reading) -> Prepared:
    with readable(label):
        if is_table(path):
            return _from_table(path, label, folder, reading)
        if not path.is_file() or _compressed(path, label):
            with path.open("rb") as stream:
                return _spooled(stream, label, folder, reading)
        reading.limits.check_bytes(path.stat().st_size, label)
    return Prepared(path, label, "auto")


def _from_table(path: Path, label: str, folder: Path, reading: Reading) -> Prepared:
    """Its rows, and the digest of the very bytes that they were read from."""
    files = table_files(path)
    before = [file_state(file) for file in files]
    made = _table(Prepared(path, label, "auto", digest=sha256_files(files)), folder, reading)
    if [file_state(file) for file in files] != before:
        raise changed(label)
    return made


def as_lines(raw: Prepared, format: str = "auto", reading: Reading = AS_IT_IS, *, rewriting: bool = False) -> Prepared:
    """OpenAI rows stay as they are; rows of other formats, and of one JSON array, become lines of OpenAI's.

    With ``rewriting`` they do not stay: some of them are in another spelling, though the first is not.
    """
    lines = None if rewriting else openai_lines(raw, format, reading)
    if lines is not None:
        return lines
    conversion = _Conversion(raw.label, format, reading)
    with readable(raw.label), raw.path.open("rb") as stream:
        path = _written(raw.scratch / "lines", conversion.lines(stream))
    digest = raw.digest or sha256_files([raw.path])
    conversion.remarks.append(raw.remarks)
    return replace(
        raw,
        path=path,
        format=conversion.format,
        skip=0,
        digest=digest,
        converted=True,
        remarks=conversion.remarks,
        original=raw.path,
    )


@dataclass(frozen=True)
class _Head:
    text: bytes
    line: int
    skip: int
    array: bool


def _first_line(stream: BinaryIO, label: str, limits: Limits) -> _Head:
    """The first line that is not blank; the byte order mark is passed over."""
    skip = len(UTF8_BOM) if stream.read(3) == UTF8_BOM else 0
    stream.seek(skip)
    # Longer than a row may be, so that one that is too long is seen to be.
    most = limits.row_bytes + 5
    for number, line in enumerate(iter(lambda: stream.readline(most), b""), start=1):
        if line.strip():
            # UTF-16 is left to the reader of arrays too: it says what is wrong.
            array = line.lstrip().startswith(b"[") or line.startswith(UTF16_BOMS)
            if not array:
                limits.check_row(len(line.rstrip(b"\r\n")), number, label)
                check_layout(line, stream.readline(most), number, label)
            return _Head(line, number, skip, array)
    raise EmptyFileError("the file has no row; give one JSON object a line", path=label)


class _Conversion:
    """Rows of any format as lines of OpenAI's; ``format`` is known once the first line was made."""

    def __init__(self, label: str, format: str, reading: Reading) -> None:
        self.label, self.format, self.reading, self.remarks = label, format, reading, Remarks()

    def lines(self, stream: BinaryIO) -> Iterator[bytes]:
        first: int | None = None
        for line, raw in numbered_rows(stream, self.label, self.reading.limits):
            if self.format == "auto":
                self.format, first = detect_format(raw, line, self.label, reading=self.reading), line
            found = read_line(raw, line, self.label, self.format, first_line=first, reading=self.reading)
            self.remarks.add(line, found.remarks)
            # An array's rows are the tenant's own text, on one line each; other spellings are written anew.
            own = self.format == "openai" and not found.rewritten
            yield (msgspec.json.format(raw, indent=-1) if own else msgspec.json.encode(found.conversation)) + b"\n"


def _spooled(stream: BinaryIO, label: str, folder: Path, reading: Reading) -> Prepared:
    hashing = HashingReader(stream)
    plain = decompressed(io.BufferedReader(hashing, _PIECE), label)
    path = _written(folder / "spool", _within(plain, hashing, label, reading.limits))
    while hashing.read(_PIECE):  # what stands behind a compressed stream's end belongs to its digest
        reading.limits.check_bytes(hashing.size, label)
    spooled = Prepared(path, label, "auto", digest=hashing.hexdigest())
    return _table(spooled, folder, reading) if is_parquet(path) else spooled


def _within(plain: BinaryIO, packed: HashingReader, label: str, limits: Limits) -> Iterator[bytes]:
    """The decompressed bytes, as long as there are not too many of them for what was read."""
    size = 0
    while piece := plain.read(_PIECE):
        size += len(piece)
        limits.check_expansion(packed.size, size, label)
        yield piece


def _table(raw: Prepared, folder: Path, reading: Reading) -> Prepared:
    remarks = Remarks()
    return replace(raw, path=_written(folder / "rows", _table_lines(raw, reading, remarks)), remarks=remarks)


def _table_lines(raw: Prepared, reading: Reading, remarks: Remarks) -> Iterator[bytes]:
    size = 0
    for number, row in enumerate(table_rows(raw.path, raw.label, reading=reading, remarks=remarks), start=1):
        line = msgspec.json.encode(row) + b"\n"
        size += len(line)
        reading.limits.check_row(len(line), number, raw.label)
        reading.limits.check_rows(number, raw.label)
        reading.limits.check_bytes(size, raw.label)
        yield line


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
        f"no temporary file can be written: {why}; make room there, or set TMPDIR to another folder", path=folder
    )


@contextlib.contextmanager
def readable(label: str) -> Iterator[None]:
    """Turns what the system says while a source is read into a DataError about it."""
    try:
        yield
    except CORRUPT as error:
        raise DataError(f"the compressed data is damaged or cut ({error}); compress it anew", path=label) from None
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"the file cannot be read: {why}; check the path and its rights", path=label) from None
