"""``watchword validate``: every fault of a training file with its line, warnings, tokens and what training would cost."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from watchword.cli.arguments import (
    DROP_COLUMNS,
    DROP_EXTRA,
    DROP_THOUGHTS,
    MAX_BYTES,
    MAX_EXPANSION,
    MAX_ROW_BYTES,
    MAX_ROWS,
    check_report,
    never_there,
    reading_of,
)
from watchword.cli.exits import STATUSES
from watchword.cli.flags import with_flags
from watchword.errors import DataError
from watchword.models.catalog import DEFAULT_MODEL


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("validate")(validate)


def validate(
    source: str = typer.Argument(
        metavar="FILE", help="File, folder of a dataset, fsspec URL, or - for standard input."
    ),
    format: str = typer.Option("auto", "--format", help="The rows' format; auto takes that of the first row."),
    model: str = typer.Option(
        DEFAULT_MODEL, "--model", help="Whose chat template must write every row: catalog name, folder or id."
    ),
    max_length: int | None = typer.Option(
        None, "--max-length", help="Tokens; a longer row is an error. Default: as train, 2048 or the model's context."
    ),
    epochs: int = typer.Option(3, "--epochs", min=1, help="For the cost estimate."),
    price: float | None = typer.Option(
        None, "--price", min=0, help="Price of a million trained tokens, for the estimate."
    ),
    workers: int = typer.Option(1, "--workers", help="Processes."),
    json: Path | None = typer.Option(None, "--json", help="Write the whole report to this file."),
    report: Path | None = typer.Option(None, "--report", help="Folder for screening.html and screening.json."),
    drop_columns: str = DROP_COLUMNS,
    drop_extra: bool = DROP_EXTRA,
    drop_thoughts: bool = DROP_THOUGHTS,
    max_bytes: int = MAX_BYTES,
    max_row_bytes: int = MAX_ROW_BYTES,
    max_rows: int = MAX_ROWS,
    max_expansion: int = MAX_EXPANSION,
) -> None:
    """Check a training file: all faults with line numbers, warnings, token statistics, and a cost estimate.

    Each row is rendered as training would render it, so what train refuses is a fault here.

    The exit status is 0 for a file that can be trained on, else 3.
    """
    from watchword.files.atomic import replacing
    from watchword.guarding.checking import CheckRequest, check_source
    from watchword.guarding.clashes import check_places, check_report_folder, refuse_clashes, report_roles, source_roles
    from watchword.guarding.known import known_secrets
    from watchword.guarding.screening.report import screen_to_files, summary
    from watchword.secret.keys import provider_key

    check_report(report, source)
    wanted = [("the file of --json", str(json))] if json is not None else []
    refuse_clashes([*wanted, *report_roles(report)], source_roles(source))
    check_places(wanted)
    check_report_folder(report)
    reading = reading_of(drop_columns, drop_extra, drop_thoughts, max_bytes, max_row_bytes, max_rows, max_expansion)
    request = CheckRequest(source, format, model, max_length, epochs, price, workers, reading)
    # Before the long check: a secret that cannot be read ends the command, since it could not be kept out of the report.
    known = known_secrets([source], (), provider_key) if report is not None else ()
    result = check_source(request)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for line in result.lines():
        console.print(with_flags(line))
    for text in never_there(reading, result.report.warnings):
        console.print(f"warning: {text}")
    if json is not None:
        with replacing(json) as stream:
            stream.write(result.json())
    if report is not None:
        for line in summary(screen_to_files(source, report, format=format, reading=reading, known=known), report):
            console.print(line)
    if not result.ok:
        raise typer.Exit(STATUSES[DataError])
