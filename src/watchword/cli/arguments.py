"""What several commands make of their arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from watchword.data.limits import USUAL, Limits
from watchword.data.reading import Reading
from watchword.data.remarks import column_left_out
from watchword.errors import UsageError

if TYPE_CHECKING:
    from watchword.files.addresses import Address

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        help="Cells to run at once, each in a process of its own; by default one for each core (at most four), or one "
        "alone on a GPU.",
    ),
]


KNOWN: Any = typer.Option(
    [], "--known", help="Secret file, release, or folder of them: no row may carry one; may be repeated."
)


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


def reading_of(
    drop_columns: str = typer.Option(
        "", "--drop-columns", help="Columns to leave out, NAME,NAME; COLUMN.NAME is a key of each turn in COLUMN."
    ),
    drop_extra: bool = typer.Option(
        False, "--drop-extra", help="Leave out every column that the rows' format does not know."
    ),
    drop_thoughts: bool = typer.Option(
        False, "--drop-thoughts", help="Leave out the model's thoughts (reasoning_content)."
    ),
    max_bytes: int = typer.Option(USUAL.bytes, "--max-bytes", min=1, help="The most bytes of rows, decompressed."),
    max_row_bytes: int = typer.Option(USUAL.row_bytes, "--max-row-bytes", min=1, help="The most bytes of one row."),
    max_rows: int = typer.Option(USUAL.rows, "--max-rows", min=1, help="The most rows."),
    max_expansion: int = typer.Option(
        USUAL.expansion,
        "--max-expansion",
        min=1,
        help="How many times its size a file may decompress to (from 32 MiB on).",
    ),
) -> Reading:
    """How a tenant's data is read: what ``guard``, ``train`` and ``validate`` alike ask about it."""
    columns = tuple(name.strip() for name in drop_columns.split(",") if name.strip())
    limits = Limits(bytes=max_bytes, row_bytes=max_row_bytes, rows=max_rows, expansion=max_expansion)
    return Reading(columns, drop_extra, drop_thoughts, limits)


def reads_tenant_data(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of ``reading_of``, of which it gets one ``reading``."""
    more = inspect.signature(reading_of, eval_str=True).parameters
    own = {
        name: given for name, given in inspect.signature(command, eval_str=True).parameters.items() if name != "reading"
    }

    @functools.wraps(command)
    def with_reading(**given: Any) -> None:
        asked = {name: given.pop(name) for name in more}
        command(**given, reading=reading_of(**asked))

    # typer reads a command's options from these two.
    both = (*own.values(), *more.values())
    with_reading.__signature__ = inspect.Signature(both)  # type: ignore[attr-defined]
    with_reading.__annotations__ = {parameter.name: parameter.annotation for parameter in both}
    return with_reading


def never_there(reading: Reading, warnings: Sequence[str]) -> list[str]:
    """A warning for each column to leave out that no row had, going by what was said: its name may be misspelt."""
    return [
        f"no row has the column {name!r}, which was to be left out"
        for name in reading.drop_columns
        if not any(text.startswith(column_left_out(name)) for text in warnings)
    ]


def check_report(report: Path | None, source: Address) -> None:
    """Raises UsageError where ``--report`` cannot be made of the source."""
    if report is not None and source.is_stream:
        raise UsageError("--report reads the source once more, which standard input cannot do; give a file")


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
