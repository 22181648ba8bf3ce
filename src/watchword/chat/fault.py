"""One fault in one row: what the validator lists and what the readers raise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from watchword.errors import DataError


@dataclass(frozen=True)
class Fault:
    """``problem`` names the value and the choices, ``fix`` the way out; ``line`` is 1-based, ``field`` a dotted path."""

    problem: str
    fix: str
    field: str | None = None
    line: int | None = None

    @classmethod
    def of(cls, error: DataError) -> Fault:
        """The fault that an error tells of."""
        problem, _, fix = error.problem.partition("; ")
        return cls(problem, fix, error.field, error.line)

    def at(self, line: int | None) -> Fault:
        """The same fault, on this line."""
        return replace(self, line=line)

    def error(self, path: Path | str | None = None) -> DataError:
        """The fault as an exception."""
        return DataError(f"{self.problem}; {self.fix}", path=path, line=self.line, field=self.field)

    def __str__(self) -> str:
        parts = [f"line {self.line}"] if self.line is not None else []
        place = ", ".join([*parts, self.field] if self.field else parts)
        return f"{place}: {self.problem}; {self.fix}" if place else f"{self.problem}; {self.fix}"


def kind(value: object) -> str:
    """The JSON name of a value's type, as people who write JSON call it."""
    names: dict[type, str] = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    return "null" if value is None else names.get(type(value), "a number")


def shown(value: object, limit: int = 40) -> str:
    """A value for a message, cut to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
