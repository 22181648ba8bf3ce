"""What several commands make of their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from watchword.errors import UsageError

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        help="Cells to run at once, each in a process of its own; by default one for each core (at most four), or one "
        "alone on a GPU.",
    ),
]


def parsed_arguments(given: Sequence[str]) -> dict[str, Any]:
    """``--set NAME=VALUE`` → a strategy's arguments.

    Values are read as JSON where they are JSON (numbers, true, null), else as text. Raises UsageError without ``=``.
    """
    arguments: dict[str, Any] = {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not (name and equals):
            raise UsageError(f"--set {entry!r} is no NAME=VALUE pair, such as --set anchors=22")
        arguments[name.replace("-", "_")] = _value(value)
    return arguments


def check_report(report: Path | None, source: str) -> None:
    """Raises UsageError where ``--report`` cannot be made of the source."""
    if report is not None and source == "-":
        raise UsageError("--report reads the source once more, which standard input cannot do; give a file")


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
