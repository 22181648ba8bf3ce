"""``watchword backup``: a copy of the service's database, taken while the service runs."""

from __future__ import annotations

from pathlib import Path

import typer

from watchword.cli.service_options import config_option, data_option, service_database


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(backup)


def backup(
    out: Path = typer.Option(..., "--out", help="File to write, never replaced."),
    data: Path = data_option(),
    config: Path | None = config_option(),
) -> None:
    """Copy the service's SQLite database as it is at one moment. docs/jobs.md says what else to keep."""
    with service_database(data, config) as database:
        database.backup(out)
    typer.echo(f"{out}: {out.stat().st_size} bytes")
