"""``watchword models``: what there is to load."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from watchword.models.catalog import CATALOG


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("models")(models)


def models() -> None:
    """List the models of the catalog. Any Hugging Face id or local folder works as well."""
    from watchword.models.fetch import cache_folder

    table = Table(box=None, pad_edge=False)
    for column in ("name", "licence", "cached", "description"):
        table.add_column(column)
    for source in CATALOG.values():
        cached = source.wheel is not None and cache_folder(source.wheel).is_dir()
        table.add_row(source.name, source.licence, "yes" if cached else "no", source.description)
    Console().print(table)
