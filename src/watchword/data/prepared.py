"""A tenant's source once its rows are a local file, and the way from these rows back to the source's own lines and names."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from watchword.chat.fault import Fault
from watchword.data.lines import numbered_rows
from watchword.data.parse import detect_format, format_named
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks
from watchword.errors import DataError
from watchword.files.addresses import open_file


@dataclass(frozen=True)
class Prepared:
    """Rows as JSON lines, from byte ``skip`` of ``path`` on.

    ``label`` names the source in messages, ``format`` is what it was written in, ``first_line`` the line (1-based) of
    its first row. ``digest``: SHA-256 of the source's bytes, None where it is counted later. ``converted``: line n is the
    source's n-th row, written anew in OpenAI's form from ``original``. ``lines``: line n is the n-th row of an array, as it
    is, and stands on this line of the source. ``remarks`` are on the source's rows, by its lines.
    """

    path: Path
    label: str
    format: str
    skip: int = 0
    first_line: int = 1
    digest: str | None = None
    converted: bool = False
    scratch: Path = Path()
    remarks: Remarks = field(default_factory=Remarks)
    original: Path | None = None
    lines: Sequence[int] | None = None

    def in_source(self, fault: Fault, reading: Reading) -> Fault:
        """A fault of one of these lines, under the source's own line and the source's own name of the field."""
        if self.original is None or fault.line is None:
            return fault
        line, name = place_in_file(self.original, fault.line, fault.field, format=self.format, reading=reading)
        return replace(fault, line=line, field=name)

    def line_of(self, row: int) -> int:
        """The source's line of one of these lines, where rows of an array have lines of their own."""
        return row if self.lines is None else self.lines[row - 1]


def place_in_file(
    path: Path, row: int, field: str | None, *, format: str = "auto", reading: Reading = AS_IT_IS
) -> tuple[int, str | None]:
    """The line of a file's n-th row, from 1, and what the file calls one of our fields (``messages[1].content``) there.

    For faults of rows that were written anew. Where the row cannot be found again, its number stands for the line, and the
    field keeps our name.
    """
    with contextlib.suppress(DataError), open_file(path) as stream:
        for count, (line, raw) in enumerate(numbered_rows(stream, path, reading.limits), start=1):
            if format == "auto":
                format = detect_format(raw, line, path, reading=reading)
            if count == row:
                obj, _ = reading.without_columns(msgspec.json.decode(raw))
                return line, format_named(format).field_of(field, obj)
    return row, field


def file_state(path: Path) -> tuple[int, int, int]:
    """What differs once somebody has written to the file, or put another one in its place."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def changed(label: str) -> DataError:
    """The error about a source that somebody has written to while it was read."""
    return DataError("the file changed while it was read; read it again when nobody writes to it", path=label)
