"""What somebody should know about rows that are valid: counted over a whole file, with the first lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from watchword.chat.fault import counted, shown

# Different remarks that are kept, lines that are named for each, and lines that are kept for it.
_MOST, _NAMED = 50, 5


def column_left_out(column: str) -> str:
    """What is said of a column that was left out by request."""
    return f"the column {shown(column)} was left out, as asked"


@dataclass(frozen=True)
class Remark:
    """``what`` is said once for all rows it is true of; ``detail`` differs from row to row."""

    what: str
    detail: str = ""


@dataclass
class _Seen:
    rows: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Remarks:
    """Remarks of one block of a file, or of the whole; lines count from 1 at its beginning."""

    _seen: dict[str, _Seen] = field(default_factory=dict)

    def add(self, line: int, remarks: Iterable[Remark]) -> None:
        """Notes the remarks on one row; the same one twice counts as one row."""
        for what, detail in {remark.what: remark.detail for remark in remarks}.items():
            self._add(what, 1, [(line, detail)])

    def count(self, what: str, rows: int) -> None:
        """Notes a remark on so many rows at once."""
        if rows:
            self._add(what, rows, [])

    def append(self, later: Remarks, lines: int = 0) -> None:
        """Adds the remarks of the part of a file that begins behind ``lines`` lines."""
        self._append(later, lambda line: line + lines)

    def moved(self, place: Callable[[int], int]) -> Remarks:
        """The same remarks where lines have other numbers."""
        made = Remarks()
        made._append(self, place)
        return made

    def texts(self) -> list[str]:
        """One sentence for each, with the number of rows and the first lines."""
        return [_text(what, seen) for what, seen in self._seen.items()]

    def __bool__(self) -> bool:
        return bool(self._seen)

    def _append(self, later: Remarks, place: Callable[[int], int]) -> None:
        for what, seen in later._seen.items():
            self._add(what, seen.rows, [(place(line), detail) for line, detail in seen.first])

    def _add(self, what: str, rows: int, first: list[tuple[int, str]]) -> None:
        if what not in self._seen and len(self._seen) >= _MOST:
            return
        seen = self._seen.setdefault(what, _Seen())
        seen.rows += rows
        seen.first += first[: _NAMED - len(seen.first)]


def _text(what: str, seen: _Seen) -> str:
    rows = counted(seen.rows)
    if not seen.first:
        return f"{what} ({rows})"
    lines = ", ".join(f"line {line} ({detail})" if detail else f"line {line}" for line, detail in seen.first)
    return f"{what} ({rows}: {lines}{', …' if seen.rows > len(seen.first) else ''})"
