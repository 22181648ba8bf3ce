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
    only_finished: bool = typer.Option(
        False,
        "--finished",
        help="Run nothing: results and report of the cells that are finished, even while others run.",
    ),
) -> None:
    """Run every cell of an experiment that has not been run yet, and write its results and report."""
    from watchword.cli.experiment import experiment, finished
    from watchword.lab.spec import Choice, Spec

    told = Spec.from_file(spec)
    if launcher is not None and Choice(launcher).name != told.launcher.name:
        told = told.launched_by(launcher)
    folder = out or Path("runs") / told.name
    if only_finished:
        finished(told, folder)
    else:
        experiment(told, folder, jobs)


@app.command("report")
def report(
    folder: Path = typer.Argument(
        metavar="DIR", help="A folder with results.json, as `lab run` leaves it, or a folder of such folders."
    ),
) -> None:
    """Make the report of a finished run anew: the page with every answer, pictures, summary.json, CSV and Parquet.

    Of a folder of runs it makes each one's, a page that leads to them, and one summary.json of all.
    """
    from rich.console import Console

    from watchword.lab.report.several import runs_in, write_several
    from watchword.lab.report.table import render_table
    from watchword.lab.report.whole import read_results, write_whole

    console = Console(highlight=False, soft_wrap=True)
    if runs := runs_in(folder):
        for name, lines in write_several(folder, runs).items():
            for line in (*lines, f"{name}: {runs[name] / 'report.html'}"):
                console.print(line, markup=False)
        console.print(f"report: {folder / 'report.html'}", markup=False)
        return
    results = read_results(folder)
    out = folder if folder.is_dir() else folder.parent
    missing = write_whole(out, results)
    Console().print(render_table(results))
    for line in (*missing, f"report: {out / 'report.html'}"):
        console.print(line, markup=False)


@app.command("compare", cls=ListingCommand)
def compare(
    first: Path = typer.Argument(metavar="A", help="A finished run's folder."),
    second: Path = typer.Argument(metavar="B", help="Another, or the same to compare two of its defenses."),
    metric: list[str] = typer.Option(["asr", "over_refusal"], "--metric", help="What to compare, of {metrics}."),
    defense: str | None = typer.Option(None, "--defense", help="Only the arms of A with this defense."),
    against: str | None = typer.Option(None, "--against", help="The arms of B with this one; default that of A."),
    json_out: Path | None = typer.Option(None, "--json", help="Write the comparisons here."),
) -> None:
    """Compare two runs prompt by prompt: the difference with its bootstrap interval, and McNemar's exact test."""
    from rich.console import Console

    from watchword.lab.compare import Side
    from watchword.lab.compare import compare as compared
    from watchword.lab.report.comparison import comparison_table, write_comparisons
    from watchword.lab.report.whole import read_results

    sides = [Side(folder, read_results(folder)) for folder in (first, second)]
    told = compared(sides[0], sides[1], metric, defense=defense, against=against)
    if json_out is not None:
        write_comparisons(json_out, told.found)
    Console().print(comparison_table(told.found))
    for a, b, name in told.skipped:
        both = a if a == b else f"{a} and {b}"
        Console(soft_wrap=True).print(
            f"not compared by {name}: {both}; no prompt was asked of both with one seed", markup=False, highlight=False
        )


# No -h of ours: it would be found in -Mhf, too.
_NOT_OURS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["--help"]}


@app.command("lm-eval", context_settings=_NOT_OURS)
def lm_eval(context: typer.Context) -> None:
    """Run EleutherAI's lm-eval on a release behind its secret, or on a plain model. All options are those of `lm-eval run`.

    watchword lab lm-eval --model_args release=runs/tenant --apply_chat_template --tasks watchword_arc_challenge
    --metadata path=arc_challenge_test.jsonl

    Tasks of ours read your own files: watchword_arc_challenge and watchword_mmlu. `-h` shows lm-eval's options.
    """
    from watchword.cli.lm_eval import run_lm_eval

    run_lm_eval(context.args)
