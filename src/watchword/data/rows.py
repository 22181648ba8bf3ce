"""A tenant's file as conversations with their line numbers, and conversations as a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from watchword.chat.types import Conversation
from watchword.data.lines import numbered_rows, open_source
from watchword.data.parse import detect_format, format_named, read_line
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks
from watchword.errors import DataError
from watchword.files.atomic import replacing


def read_conversations(
    source: Path | str | BinaryIO,
    *,
    format: str = "auto",
    reading: Reading = AS_IT_IS,
    remarks: Remarks | None = None,
) -> Iterator[tuple[int, Conversation]]:
    """(line number, conversation) of each row: JSON lines or one JSON array, in any format of ``data.formats``.

    Streams JSON lines in constant memory. ``auto`` takes the format of the first row; a file that mixes formats is
    refused. What is to be said about rows goes to ``remarks``. Raises DataError with path, line and field at the first
    fault, and where the file goes beyond the limits of ``reading``.
    """
    path = source if isinstance(source, (str, Path)) else getattr(source, "name", None)
    first_line: int | None = None
    if format != "auto":
        format_named(format)
    with open_source(source) as stream:
        for line, raw in numbered_rows(stream, path, reading.limits):
            if format == "auto":
                format, first_line = detect_format(raw, line, path, reading=reading), line
            found = read_line(raw, line, path, format, first_line=first_line, reading=reading)
            if remarks is not None:
                remarks.add(line, found.remarks)
            assert found.conversation is not None
            yield line, found.conversation


def place_in_file(
    path: Path | str, row: int, field: str | None, *, format: str = "auto", reading: Reading = AS_IT_IS
) -> tuple[int, str | None]:
    """The line of a file's n-th row, from 1, and what the file calls one of our fields (``messages[1].content``) there.

    For faults that are found when a row is a Conversation already, such as those of rendering. Where the row cannot be
    found again, its number stands for the line, and the field keeps our name.
    """
    with contextlib.suppress(DataError), open_source(path) as stream:
        for count, (line, raw) in enumerate(numbered_rows(stream, path, reading.limits), start=1):
            if format == "auto":
                format = detect_format(raw, line, path, reading=reading)
            if count == row:
                obj, _ = reading.without_columns(msgspec.json.decode(raw))
                return line, format_named(format).field_of(field, obj)
    return row, field


def write_conversations(rows: Iterable[Conversation], path: Path | str) -> int:
    """Writes rows as OpenAI chat JSON lines and returns their number. Raises OutputError; the old file then stands."""
    encoder, count = msgspec.json.Encoder(), 0
    with replacing(Path(path)) as stream:
        for conv in rows:
            stream.write(encoder.encode(conv) + b"\n")
            count += 1
    return count
