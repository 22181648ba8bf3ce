"""``watchword lab SPEC``: run an experiment from its spec."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from watchword.cli.progress import reporter


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("lab")(lab)


def lab(
    spec: Path = typer.Argument(help="The experiment's spec, a JSON file (see results/*/spec.json)."),
    out: Path = typer.Option(..., "--out", help="Folder for results.json, report.html and finished cells."),
) -> None:
    """Run every cell of an experiment that has not been run yet, and write its results and report."""
    from watchword.lab.grid import run_spec
    from watchword.lab.report import write_report
    from watchword.lab.spec import Spec
    from watchword.lab.store import Store, versions, write_results
    from watchword.lab.table import render_table

    console = Console()
    loaded = Spec.from_file(spec)
    with reporter(console) as progress:
        cells = run_spec(loaded, Store(out), step=progress.step, say=progress.say)
    results = write_results(out / "results.json", loaded, versions(), cells)
    write_report(out / "report.html", results)
    console.print(render_table(results))
