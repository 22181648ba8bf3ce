"""What several commands make of their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from watchword.data.limits import USUAL, Limits
from watchword.data.reading import Reading
from watchword.data.remarks import column_left_out
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


# What ``guard``, ``train`` and ``validate`` ask about a tenant's file.
DROP_COLUMNS = typer.Option(
    "", "--drop-columns", help="Columns to leave out, NAME,NAME; COLUMN.NAME is a key of each turn in COLUMN."
)
DROP_EXTRA = typer.Option(False, "--drop-extra", help="Leave out every column that the rows' format does not know.")
DROP_THOUGHTS = typer.Option(False, "--drop-thoughts", help="Leave out the model's thoughts (reasoning_content).")
MAX_BYTES = typer.Option(USUAL.bytes, "--max-bytes", min=1, help="The most bytes of rows, decompressed.")
MAX_ROW_BYTES = typer.Option(USUAL.row_bytes, "--max-row-bytes", min=1, help="The most bytes of one row.")
MAX_ROWS = typer.Option(USUAL.rows, "--max-rows", min=1, help="The most rows.")
MAX_EXPANSION = typer.Option(
    USUAL.expansion,
    "--max-expansion",
    min=1,
    help="How many times its size a file may decompress to (from 32 MiB on).",
)


def reading_of(
    drop_columns: str,
    drop_extra: bool,
    drop_thoughts: bool,
    max_bytes: int,
    max_row_bytes: int,
    max_rows: int,
    max_expansion: int,
) -> Reading:
    """How a tenant's file is read, from these options."""
    columns = tuple(name.strip() for name in drop_columns.split(",") if name.strip())
    limits = Limits(bytes=max_bytes, row_bytes=max_row_bytes, rows=max_rows, expansion=max_expansion)
    return Reading(columns, drop_extra, drop_thoughts, limits)


def never_there(reading: Reading, warnings: Sequence[str]) -> list[str]:
    """A warning for each column to leave out that no row had, going by what was said: its name may be misspelt."""
    return [
        f"no row has the column {name!r}, which was to be left out"
        for name in reading.drop_columns
        if not any(text.startswith(column_left_out(name)) for text in warnings)
    ]


def check_report(report: Path | None, source: str) -> None:
    """Raises UsageError where ``--report`` cannot be made of the source."""
    if report is not None and source == "-":
        raise UsageError("--report reads the source once more, which standard input cannot do; give a file")


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
