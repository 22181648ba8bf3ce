"""The one reader of a tenant's data: whatever an address leads to, as conversations that know where they stand."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from watchword.chat.rowcheck import RowCheck
from watchword.chat.template import ChatTemplate
from watchword.chat.types import Conversation
from watchword.data.lines import numbered_rows
from watchword.data.parse import detect_format, format_named, read_line
from watchword.data.places import Places
from watchword.data.prepared import changed, file_state
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks
from watchword.data.sources import local_rows, readable
from watchword.errors import DataError, EmptyFileError
from watchword.files.addresses import Address
from watchword.files.atomic import replacing
from watchword.files.digest import HashingReader

_PIECE = 1 << 20


@dataclass(frozen=True)
class TenantRow:
    """A row with its line in the source (of tables: its number, from 1), and what the source calls our fields, if otherwise."""

    line: int
    conversation: Conversation
    places: Places | None = None

    def own(self, error: DataError, label: str | None) -> DataError:
        """An error about the row as a Conversation, on the source's line and under its name of the field."""
        field = error.field if self.places is None else self.places.field_of(error.field)
        return type(error)(error.problem, param=error.param, path=label, line=self.line, field=field)


@dataclass(frozen=True)
class TenantRows:
    """All rows of one upload. ``digest`` is SHA-256 (hex) of the tenant's own bytes, compressed or not; "" for rows in memory."""

    rows: Sequence[TenantRow] = field(repr=False)
    label: str | None = None
    digest: str = ""

    def conversations(self) -> list[Conversation]:
        """The rows as they are trained on."""
        return [row.conversation for row in self.rows]

    def numbered(self) -> list[tuple[int, Conversation]]:
        """(line, conversation) of each row."""
        return [(row.line, row.conversation) for row in self.rows]

    def check(self, template: ChatTemplate, max_length: int | None = None) -> Counter[str]:
        """How many rows lose what when the model's template writes them.

        Raises DataError, with the row's line and field, where the template does not write a row whole, or where that is
        longer than ``max_length`` tokens.
        """
        check, dropped = RowCheck(template, max_length), Counter[str]()
        for row in self.rows:
            looked = check.look(row.conversation)
            if looked.error is not None:
                raise row.own(looked.error, self.label)
            dropped.update(looked.dropped)
        return dropped


def read_rows(
    source: Address, *, format: str = "auto", reading: Reading = AS_IT_IS, remarks: Remarks | None = None
) -> TenantRows:
    """The whole upload in memory: JSON lines, a JSON array, Parquet, a folder of ``datasets``; compressed or not.

    Raises DataError, with the line, at the first fault, for a source without rows, and for one that changes meanwhile.
    """
    with local_rows(source, reading=reading) as raw:
        before = file_state(raw.path)
        with readable(raw.label), raw.path.open("rb", buffering=0) as file:
            hashing = HashingReader(cast(BinaryIO, file))
            stream = cast(BinaryIO, io.BufferedReader(hashing, _PIECE))
            rows = list(_rows(stream, raw.label, format, reading, remarks))
            if file_state(raw.path) != before:
                raise changed(raw.label)
            digest = raw.digest or hashing.hexdigest()
        if remarks is not None:
            remarks.append(raw.remarks)
    if not rows:
        raise EmptyFileError("the file has no row; give one JSON object a line", path=raw.label)
    return TenantRows(rows, raw.label, digest)


def read_conversations(
    source: Address | Path | str | BinaryIO,
    *,
    format: str = "auto",
    reading: Reading = AS_IT_IS,
    remarks: Remarks | None = None,
) -> Iterator[tuple[int, Conversation]]:
    """(line, conversation) of each row of whatever ``read_rows`` reads, or of a stream of JSON lines or of one array.

    Streams JSON lines in constant memory. ``auto`` takes the format of the first row; a file that mixes formats is
    refused. What is to be said about rows goes to ``remarks``. Raises DataError with path, line and field at the first
    fault, and where the file goes beyond the limits of ``reading``.
    """
    if format != "auto":
        format_named(format)
    if not isinstance(source, (Address, Path, str)):
        label = getattr(source, "name", None)
        yield from ((row.line, row.conversation) for row in _rows(source, label, format, reading, remarks))
        return
    address = source if isinstance(source, Address) else Address.parse(source)
    with local_rows(address, reading=reading) as raw, readable(raw.label), raw.path.open("rb") as stream:
        if remarks is not None:
            remarks.append(raw.remarks)
        yield from ((row.line, row.conversation) for row in _rows(stream, raw.label, format, reading, remarks))


def row_of(
    raw: bytes,
    line: int,
    label: str | None,
    format: str,
    *,
    first_line: int | None,
    reading: Reading,
    remarks: Remarks | None,
) -> TenantRow:
    """One row of JSON in this format. Raises DataError at its first fault."""
    found = read_line(raw, line, label, format, first_line=first_line, reading=reading)
    assert found.conversation is not None
    if remarks is not None:
        remarks.add(line, found.remarks)
    return TenantRow(line, found.conversation, found.places if found.rewritten else None)


def _rows(
    stream: BinaryIO, label: str | None, format: str, reading: Reading, remarks: Remarks | None
) -> Iterator[TenantRow]:
    first_line: int | None = None
    for line, raw in numbered_rows(stream, label, reading.limits):
        if format == "auto":
            format, first_line = detect_format(raw, line, label, reading=reading), line
        yield row_of(raw, line, label, format, first_line=first_line, reading=reading, remarks=remarks)


def write_conversations(rows: Iterable[Conversation], path: Path | str) -> int:
    """Writes rows as OpenAI chat JSON lines and returns their number. Raises OutputError; the old file then stands."""
    encoder, count = msgspec.json.Encoder(), 0
    with replacing(Path(path)) as stream:
        for conv in rows:
            stream.write(encoder.encode(conv) + b"\n")
            count += 1
    return count
