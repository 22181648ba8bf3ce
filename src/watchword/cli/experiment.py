"""What ``demo`` and ``lab`` share: run a spec with progress, write its results and all that is made of them, show the table."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from watchword.cli.progress import reporter
from watchword.errors import DataError
from watchword.lab.spec import Spec
from watchword.lab.store import CellResult


def experiment(spec: Spec, out: Path, jobs: int | None = None) -> None:
    """Runs the cells that were not run before, ``jobs`` at once; ``out`` gets results.json and the report."""
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
    _written(spec, cells, out, console)


def finished(spec: Spec, out: Path) -> None:
    """Results and report of the cells that are finished. Raises DataError where none is."""
    from watchword.lab.runner import finished_cells
    from watchword.lab.store import Store

    cells = finished_cells(spec, Store(out))
    if not cells:
        raise DataError("no cell of this spec is finished here", path=out)
    console = Console()
    console.print(f"{len(cells)} of {len(spec.cells())} cells are finished", highlight=False)
    _written(spec, cells, out, console)


def _written(spec: Spec, cells: Sequence[CellResult], out: Path, console: Console) -> None:
    from watchword.lab.report.table import render_table
    from watchword.lab.report.whole import write_whole
    from watchword.lab.results import results_of, write_results

    results = results_of(spec, cells)
    write_results(out / "results.json", results)
    missing = write_whole(out, results)
    console.print(render_table(results))
    for line in missing:
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"report: {out / 'report.html'}\nresults: {out / 'results.json'}", highlight=False, soft_wrap=True)
