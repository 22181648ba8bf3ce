"""What ``demo`` and ``lab`` share: run a spec with progress, write its results and all that is made of them, show the table."""

from __future__ import annotations

import functools
from pathlib import Path

from rich.console import Console

from watchword.cli.progress import reporter
from watchword.lab.spec import Spec


def experiment(spec: Spec, out: Path, jobs: int | None = None) -> None:
    """Runs the cells that were not run before, ``jobs`` at once; ``out`` gets results.json and the report."""
    from watchword.lab.report.table import render_table
    from watchword.lab.report.whole import write_whole
    from watchword.lab.results import results_of, write_results
    from watchword.lab.runner import run_spec
    from watchword.lab.store import Store

    console = Console()
    with reporter(console) as progress:
        cells = run_spec(
            spec,
            Store(out),
            lanes=lambda lane: functools.partial(progress.step, lane=lane),
            say=progress.say,
            jobs=jobs,
        )
    results = results_of(spec, cells)
    write_results(out / "results.json", results)
    missing = write_whole(out, results)
    console.print(render_table(results))
    for line in missing:
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"report: {out / 'report.html'}\nresults: {out / 'results.json'}", highlight=False, soft_wrap=True)
