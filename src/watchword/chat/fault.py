"""One fault in one row: what the validator lists and what the readers raise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from watchword.errors import DataError, TemplateLacksError


@dataclass(frozen=True)
class Fault:
    """``problem`` names the value and the choices, ``fix`` the way out; ``line`` is 1-based, ``field`` a dotted path.

    A ``layout`` fault is likely to be in every row of its file (a column too many, rows of an unknown kind). Reports list
    it once: ``rows`` says how many rows have it.
    """

    problem: str
    fix: str
    field: str | None = None
    line: int | None = None
    layout: bool = False
    rows: int = 1

    @classmethod
    def of(cls, error: DataError) -> Fault:
        """The fault that an error tells of."""
        problem, _, fix = error.problem.partition("; ")
        return cls(problem, fix, error.field, error.line, layout=isinstance(error, TemplateLacksError))

    def at(self, line: int | None) -> Fault:
        """The same fault, on this line."""
        return replace(self, line=line)

    def error(self, path: Path | str | None = None) -> DataError:
        """The fault as an exception."""
        return DataError(f"{self.problem}; {self.fix}", path=path, line=self.line, field=self.field)

    def __str__(self) -> str:
        parts = [f"line {self.line}"] if self.line is not None else []
        place = ", ".join([*parts, self.field] if self.field else parts)
        more = f" (the same in {self.rows} rows)" if self.rows > 1 else ""
        return f"{place}: {self.problem}; {self.fix}{more}" if place else f"{self.problem}; {self.fix}{more}"


def add_fault(listed: list[Fault], fault: Fault, most: int) -> None:
    """Lists one more fault, up to ``most`` of them; a ``layout`` fault that is listed already is counted there."""
    if fault.layout:
        for at, old in enumerate(listed):
            if (old.problem, old.fix, old.field) == (fault.problem, fault.fix, fault.field):
                listed[at] = replace(old, rows=old.rows + fault.rows)
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
