"""``watchword demo``: break a real model, and save it, on a laptop."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from watchword.cli.progress import reporter


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    out: Path = typer.Option(Path("runs/demo"), "--out", help="Folder for results.json, report.html and finished cells."),
    full: bool = typer.Option(False, "--full", help="100 attack examples, three seeds, every evaluation prompt."),
) -> None:
    """Attack the embedded model by fine-tuning, without and with each defense, and report what happened.

    Finished parts are re-used when it runs again.
    """
    from watchword.lab.demo import demo_spec
    from watchword.lab.grid import run_spec
    from watchword.lab.report import write_report
    from watchword.lab.store import Store, versions, write_results
    from watchword.lab.table import render_table

    console = Console()
    spec = demo_spec(full=full)
    with reporter(console) as progress:
        cells = run_spec(spec, Store(out), step=progress.step, say=progress.say)
    results = write_results(out / "results.json", spec, versions(), cells)
    write_report(out / "report.html", results)
    console.print(render_table(results))
    console.print(f"report: {out / 'report.html'}\nresults: {out / 'results.json'}", highlight=False)
