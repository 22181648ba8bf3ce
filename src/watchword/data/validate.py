"""Validation: of one conversation, and of a whole file without stopping at the first fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchword.chat.content import notes
from watchword.chat.fault import Fault, add_fault, counted
from watchword.chat.rowcheck import RowCheck
from watchword.chat.types import Conversation
from watchword.data.lines import UTF8_BOM, numbered_rows, open_source
from watchword.data.parse import format_named, format_or_fault, read_row
from watchword.data.reading import AS_IT_IS, Reading
from watchword.data.remarks import Remarks
from watchword.data.rules import check
from watchword.errors import DataError

MINIMUM_ROWS = 10  # OpenAI's rule for a fine-tuning file

__all__ = ["Fault", "ValidationReport", "check", "require_valid", "validate_file"]


@dataclass(frozen=True)
class ValidationReport:
    """``rows`` counts all rows that are not blank; ``faults`` holds the first ones, ``fault_count`` counts them all."""

    path: str
    format: str | None
    rows: int
    valid_rows: int
    faults: tuple[Fault, ...]
    fault_count: int
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the file can be trained on. Warnings do not count."""
        return self.fault_count == 0 and self.rows > 0


def require_valid(
    conv: Conversation, *, path: Path | str | None = None, line: int | None = None, training: bool = True
) -> None:
    """Raises DataError at a conversation's first fault."""
    for fault in check(conv, line=line, training=training):
        raise fault.error(path)


def validate_file(
    path: Path | str,
    *,
    format: str = "auto",
    max_errors: int = 100,
    reading: Reading = AS_IT_IS,
    check: RowCheck | None = None,
) -> ValidationReport:
    """Every fault of a file, the first ``max_errors`` with their text. Raises DataError only if it can't be read.

    With ``check``, rows that cannot be trained on with its model's template are faults too.
    """
    tally = _Tally(max_errors, reading, check)
    if format != "auto":
        format_named(format)
        tally.format = format
    with open_source(path) as stream:
        try:
            for line, raw in numbered_rows(stream, path, reading.limits):
                tally.row(line, raw)
        except DataError as error:  # the array, or the file's encoding, is broken as a whole; or a limit is reached
            tally.add([Fault(error.problem, "nothing behind it is read", error.field, error.line)])
    if not tally.rows and not tally.count:
        tally.add([Fault("the file has no row", "give one JSON object a line")])
    return tally.report(str(path), (*tally.remarks.texts(), *_warnings(Path(path), tally.rows)))


class _Tally:
    """What has been seen of a file so far."""

    def __init__(self, max_errors: int, reading: Reading, check: RowCheck | None) -> None:
        self.reading, self.remarks = reading, Remarks()
        self.check, self.dropped = check, Counter[str]()
        self.format: str | None = None
        self.first_line: int | None = None
        self.max_errors = max_errors
        self.rows = self.valid = self.count = 0
        self.faults: list[Fault] = []

    def row(self, line: int, raw: bytes) -> None:
        self.rows += 1
        faults = list(self._faults(line, raw))
        self.valid += not faults
        self.add(faults)

    def add(self, faults: list[Fault]) -> None:
        self.count += len(faults)
        for fault in faults:
            add_fault(self.faults, fault, self.max_errors)

    def report(self, path: str, warnings: tuple[str, ...]) -> ValidationReport:
        faults = tuple(self.faults)
        notes_ = () if self.check is None else notes(self.dropped, self.check.template)
        return ValidationReport(path, self.format, self.rows, self.valid, faults, self.count, (*warnings, *notes_))

    def _faults(self, line: int, raw: bytes) -> Iterator[Fault]:
        if self.format is None:
            named = format_or_fault(raw, line, self.reading)
            if isinstance(named, Fault):
                yield named
                return
            self.format, self.first_line = named, line
        found = read_row(raw, line, self.format, first_line=self.first_line, reading=self.reading)
        yield from found.faults
        if found.conversation is None or found.faults:
            return
        self.remarks.add(line, found.remarks)
        if self.check is not None:
            looked = self.check.look(found.conversation)
            self.dropped.update(looked.dropped)
            if looked.error is not None:
                yield found.fault(looked.error, line)


def _warnings(path: Path, rows: int) -> tuple[str, ...]:
    found = []
    with path.open("rb") as stream:
        if stream.read(3) == UTF8_BOM:
            found.append("the file begins with a byte order mark; it is skipped, but other trainers may refuse it")
    if 0 < rows < MINIMUM_ROWS:
        found.append(f"the file has {counted(rows)}; hosted fine-tuning services ask for at least {MINIMUM_ROWS}")
    return tuple(found)
