"""``watchword validate``: every fault of a training file with its line, warnings, tokens and what training would cost."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from watchword.cli.arguments import KNOWN, check_report, never_there, reads_tenant_data
from watchword.cli.exits import STATUSES
from watchword.cli.flags import with_flags
from watchword.data.reading import Reading
from watchword.errors import DataError
from watchword.models.catalog import DEFAULT_MODEL


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("validate")(validate)


@reads_tenant_data
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
    known: list[Path] = KNOWN,
    json: Path | None = typer.Option(None, "--json", help="Write the whole report to this file."),
    report: Path | None = typer.Option(None, "--report", help="Folder for screening.html and screening.json."),
    *,
    reading: Reading,
) -> None:
    """Check a training file: all faults with line numbers, warnings, token statistics, and a cost estimate.

    Each row is rendered as training would render it, so what train refuses is a fault here.

    The exit status is 0 for a file that can be trained on, else 3.
    """
    from watchword.files.addresses import Address
    from watchword.files.atomic import replacing
    from watchword.guarding.checking import CheckRequest, check_source
    from watchword.guarding.clashes import check_places, check_report_folder, refuse_clashes, report_roles, source_roles
    from watchword.guarding.known import known_secrets
    from watchword.guarding.screening.report import screen_to_files, summary
    from watchword.secret.keys import provider_key

    address = Address.parse(source)
    check_report(report, address)
    wanted = [("the file of --json", Address(json))] if json is not None else []
    refuse_clashes([*wanted, *report_roles(report)], source_roles(address))
    check_places(wanted)
    check_report_folder(report)
    # Before the long check: a secret that cannot be read ends the command, since it could not be kept out of the report.
    secrets = known_secrets([address], known, provider_key)
    request = CheckRequest(address, format, model, max_length, epochs, price, workers, reading, secrets)
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
        for line in summary(screen_to_files(address, report, format=format, reading=reading, known=secrets), report):
            console.print(line)
    if not result.ok:
        raise typer.Exit(STATUSES[DataError])
