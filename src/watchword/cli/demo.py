"""``watchword demo``: break a real model, and save it, on a laptop."""

from __future__ import annotations

from pathlib import Path

import typer

from watchword.cli.arguments import Jobs


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    out: Path = typer.Option(
        Path("runs/demo"), "--out", help="Folder for results.json, report.html and finished cells."
    ),
    full: bool = typer.Option(False, "--full", help="100 attack examples, three seeds, every evaluation prompt."),
    jobs: Jobs = None,
) -> None:
    """Attack the embedded model by fine-tuning, without and with each defense, and report what happened.

    Finished parts are re-used when it runs again.
    """
    from watchword.cli.experiment import experiment
    from watchword.lab.demo import demo_spec

    experiment(demo_spec(full=full), out, jobs)
