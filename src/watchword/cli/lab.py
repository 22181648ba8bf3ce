"""``watchword lab``: run experiments from their specs, report on them, and compare them."""

from __future__ import annotations

from pathlib import Path

import typer

from watchword.cli.arguments import Jobs
from watchword.cli.listing import ListingCommand

app = typer.Typer(help="Run experiments, report on them, compare them.", no_args_is_help=True)


@app.command("run", cls=ListingCommand)
def run(
    spec: Path = typer.Argument(
        metavar="SPEC",
        help="The experiment's spec, a JSON or TOML file (see specs/). Attacks: none, {attacks}. Defenses: {defenses}. "
        "Benchmarks: {benchmarks}.",
    ),
    out: Path | None = typer.Option(
        None, "--out", help="Folder for results.json, report.html and finished cells; default runs/NAME of the spec."
    ),
    jobs: Jobs = None,
    launcher: str | None = typer.Option(
        None, "--launcher", help="What runs the cells, in place of the spec's own: {cell_launchers}."
    ),
) -> None:
    """Run every cell of an experiment that has not been run yet, and write its results and report."""
    from watchword.cli.experiment import experiment
    from watchword.lab.spec import Choice, Spec

    told = Spec.from_file(spec)
    if launcher is not None and Choice(launcher).name != told.launcher.name:
        told = told.launched_by(launcher)
    experiment(told, out or Path("runs") / told.name, jobs)
