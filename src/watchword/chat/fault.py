"""One fault in one row: what the validator lists and what the readers raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from watchword.errors import DataError, RowTooLongError, TemplateLacksError

# Lines that are named of a fault that many rows have.
_NAMED = 5


@dataclass(frozen=True)
class Fault:
    """``problem`` names the value and the choices, ``fix`` the way out; ``line`` is 1-based, ``field`` a dotted path.

    A ``layout`` fault is likely to be in many rows of its file (a column too many, rows of an unknown kind). Reports list
    it once: ``rows`` says how many rows have it, ``lines`` where the first of them are. Faults of one ``group`` are one
    even where their words differ.
    """

    problem: str
    fix: str
    field: str | None = None
    line: int | None = None
    layout: bool = False
    rows: int = 1
    lines: tuple[int, ...] = ()
    group: str = ""

    @classmethod
    def of(cls, error: DataError) -> Fault:
        """The fault that an error tells of."""
        problem, _, fix = error.problem.partition("; ")
        group = "too long" if isinstance(error, RowTooLongError) else ""
        layout = bool(group) or isinstance(error, TemplateLacksError)
        return cls(problem, fix, error.field, error.line, layout=layout, group=group)

    def at(self, line: int | None) -> Fault:
        """The same fault, on this line."""
        return replace(self, line=line)

    def moved(self, place: Callable[[int], int]) -> Fault:
        """The same fault where lines have other numbers."""
        line = None if self.line is None else place(self.line)
        return replace(self, line=line, lines=tuple(map(place, self.lines)))

    def error(self, path: Path | str | None = None) -> DataError:
        """The fault as an exception."""
        return DataError(f"{self.problem}; {self.fix}", path=path, line=self.line, field=self.field)

    def __str__(self) -> str:
        parts = [f"line {self.line}"] if self.line is not None else []
        place = ", ".join([*parts, self.field] if self.field else parts)
        more = f" (the same in {self.rows} rows{self._lines()})" if self.rows > 1 else ""
        return f"{place}: {self.problem}; {self.fix}{more}" if place else f"{self.problem}; {self.fix}{more}"

    def _lines(self) -> str:
        named = ", ".join(map(str, self.lines))
        return f": lines {named}{', …' if self.rows > len(self.lines) else ''}" if named else ""

    def _same(self, other: Fault) -> bool:
        if self.group or other.group:
            return self.group == other.group
        return (self.problem, self.fix, self.field) == (other.problem, other.fix, other.field)

    def _with(self, later: Fault) -> Fault:
        lines = (*self._first(), *later._first())[:_NAMED]
        return replace(self, rows=self.rows + later.rows, lines=lines)

    def _first(self) -> tuple[int, ...]:
        return self.lines or (() if self.line is None else (self.line,))


def add_fault(listed: list[Fault], fault: Fault, most: int) -> None:
    """Lists one more fault, up to ``most`` of them; a ``layout`` fault that is listed already is counted there."""
    if fault.layout:
        for at, old in enumerate(listed):
            if old._same(fault):
                listed[at] = old._with(fault)
                return
    if len(listed) < most:
        listed.append(fault)


def kind(value: object) -> str:
    """The JSON name of a value's type, as people who write JSON call it."""
    names: dict[type, str] = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    return "null" if value is None else names.get(type(value), "a number")


def in_a_sentence(said: str) -> str:
    """Another program's words without their capital, unless that belongs to the word (JSON)."""
    return said if said[1:2].isupper() else said[:1].lower() + said[1:]


def counted(rows: int) -> str:
    """``1 row``, ``2 rows``."""
    return f"{rows} row" if rows == 1 else f"{rows} rows"


def shown(value: object, limit: int = 40) -> str:
    """A value for a message, cut to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
