"""``watchword lab SPEC``: run an experiment from its spec."""

from __future__ import annotations

from pathlib import Path

import typer

from watchword.cli.arguments import Jobs
from watchword.cli.listing import ListingCommand


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("lab", cls=ListingCommand)(lab)


def lab(
    spec: Path = typer.Argument(
        metavar="SPEC",
        help="The experiment's spec, a JSON file (see results/*/spec.json). Attacks: none, {attacks}. Defenses: {defenses}. "
        "Benchmarks: {benchmarks}.",
    ),
    out: Path = typer.Option(..., "--out", help="Folder for results.json, report.html and finished cells."),
    jobs: Jobs = None,
) -> None:
    """Run every cell of an experiment that has not been run yet, and write its results and report."""
    from watchword.cli.experiment import experiment
    from watchword.lab.spec import Spec

    experiment(Spec.from_file(spec), out, jobs)
