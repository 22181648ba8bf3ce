"""The rows of a tenant's file for the passes of a screening: the same rows, with the same numbers, in each pass."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from watchword.chat.types import Conversation
from watchword.data.lines import UTF8_BOM, numbered_rows
from watchword.data.parse import detect_format, parse_row
from watchword.data.reading import Reading
from watchword.errors import DataError
from watchword.secret.known import KnownSecrets

# Bytes in which the first character of a file is looked for.
_HEAD = 1 << 16


class ReadRow(NamedTuple):
    """A row with its line; in one JSON array, whose rows may share a line, with its number. An invalid row has no conversation.

    ``carries``: a secret of the provider stands in it, so that nothing of it may be shown.
    """

    line: int
    conversation: Conversation | None
    carries: bool = False


@dataclass(frozen=True)
class RowReader:
    """Reads one local file, as often as wanted."""

    path: Path
    format: str
    reading: Reading
    known: KnownSecrets

    @property
    def array(self) -> bool:
        """Whether the file is one JSON array."""
        with self.path.open("rb") as stream:
            return stream.read(_HEAD).removeprefix(UTF8_BOM).lstrip().startswith(b"[")

    def all(self, only: Container[int] | None = None) -> Iterator[ReadRow]:
        """Every row, or those with these numbers. An array that breaks off ends with one invalid row."""
        format, number, array = self.format, 0, self.array
        try:
            with self.path.open("rb") as stream:
                for line, raw in numbered_rows(stream, self.path, self.reading.limits):
                    number += 1
                    format = self._format_of(raw) if format == "auto" else format
                    place = number if array else line
                    if only is None or place in only:
                        yield self._row(raw, number, place, format)
        except DataError:
            yield ReadRow(number + 1, None)

    def valid(self, only: Container[int] | None = None) -> Iterator[tuple[int, Conversation]]:
        """The valid rows that carry no secret, with their numbers."""
        for row in self.all(only):
            if row.conversation is not None and not row.carries:
                yield row.line, row.conversation

    def _row(self, raw: bytes, number: int, place: int, format: str) -> ReadRow:
        conv, faults = (None, []) if format == "auto" else parse_row(raw, number, format, reading=self.reading)
        if conv is None or faults:
            return ReadRow(place, None)
        return ReadRow(place, conv, self.known.stand_in_row(conv))

    def _format_of(self, raw: bytes) -> str:
        """The format of the first row that has one; until then, still "auto"."""
        try:
            return detect_format(raw, 1, reading=self.reading)
        except DataError:
            return "auto"
