"""``watchword evaluate``: hold any model against any prompt file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from watchword.cli.listing import ListingCommand
from watchword.cli.progress import reporter
from watchword.cli.target import release_or_model
from watchword.models.catalog import DEFAULT_MODEL

if TYPE_CHECKING:
    from watchword.rates import Rate


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate", cls=ListingCommand)(evaluate)


def evaluate(
    prompts: Path = typer.Option(..., "--prompts", help=".txt (one a line), .csv (first column) or .jsonl (`prompt`)."),
    column: str | None = typer.Option(
        None, "--column", help="Column of the .csv or key of the .jsonl that holds the prompts."
    ),
    model: str | None = typer.Option(
        None, "--model", help=f"Catalog name, folder or Hugging Face id; default {DEFAULT_MODEL}."
    ),
    adapter: Path | None = typer.Option(
        None, "--adapter", help="LoRA adapter; one that `watchword train` left brings its model and its secret."
    ),
    secret_file: Path | None = typer.Option(
        None, "--secret-file", help="Put this secret in front of every system prompt."
    ),
    no_secret: bool = typer.Option(
        False, "--no-secret", help="Ask without the adapter's own secret, to see what it does."
    ),
    undefended: bool = typer.Option(
        False, "--undefended", help="Ask tuned weights that have no manifest as they stand, and say so."
    ),
    metric: str = typer.Option(
        "asr", "--metric", help="What is counted, and by which judge: {metrics}. asr counts answers that do not refuse."
    ),
    judge: str | None = typer.Option(None, "--judge", help="Another judge than the metric's own: {judges}."),
    system: str | None = typer.Option(None, "--system", help="System prompt of every question."),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Only the first N prompts."),
    max_new_tokens: int = typer.Option(64, "--max-new-tokens", help="Length of an answer in tokens."),
    batch_size: int = typer.Option(32, "--batch-size"),
    json_out: Path | None = typer.Option(None, "--json", help="Write the figures here."),
    answers: Path | None = typer.Option(
        None, "--answers", help="Write every prompt, answer and verdict here (JSON lines)."
    ),
) -> None:
    """Ask a model every prompt of a file, judge the answers, and print the rate with its 95 % interval."""
    from watchword.benchmarks.base import judged_metrics
    from watchword.data.prompts import read_prompts
    from watchword.errors import UnknownNameError, UsageError
    from watchword.files.atomic import check_writable
    from watchword.judges.base import JUDGES
    from watchword.lab.prompt_file import Question, judged, write_figures, write_verdicts
    from watchword.models.base import GenerationOptions
    from watchword.registry import did_you_mean, spelled
    from watchword.secret.vault import read_secret_file

    known = judged_metrics()
    wanted = known.get(spelled(metric))
    if wanted is None:
        raise UnknownNameError(
            f"there is no metric {metric!r}: {did_you_mean(metric, known)}choose one of {', '.join(known)}",
            param="metric",
        )
    for path in (json_out, answers):
        if path is not None:
            check_writable(path)
    if no_secret and secret_file is not None:
        raise UsageError("--secret-file names a secret and --no-secret asks without one; give one of the two")
    judged_by = judge or wanted.judge or ""
    by = JUDGES.create(judged_by)
    asked = read_prompts(prompts, column)[:limit]
    question = Question(asked, system, GenerationOptions(max_new_tokens=max_new_tokens, batch_size=batch_size))
    console = Console(highlight=False, soft_wrap=True, markup=False)
    with reporter(console) as progress:
        progress.step("loading the model", 0, 1)
        given = read_secret_file(secret_file) if secret_file is not None else None
        target = release_or_model(model, adapter, given, default=DEFAULT_MODEL, undefended=undefended)
        progress.step("loading the model", 1, 1)
        # The same weights on the same model either way, so that only the secret makes the difference.
        defense = target.defense.without_secret() if no_secret else target.defense
        verdicts = judged(question, target.model, defense, by, progress.step)
    rate = verdicts.rate(wanted)
    if json_out:
        write_figures(json_out, {wanted.name: rate}, undefended=target.warning is not None)
    if answers:
        write_verdicts(answers, verdicts)
    value = (
        "no answer could be scored" if rate.value is None else f"{rate.value:.1f} % [{rate.low:.1f}, {rate.high:.1f}]"
    )
    if target.warning:
        console.print(target.warning)
    console.print(f"{wanted.name} by {judged_by}: {value}, n = {rate.n}, unscored {rate.unscored}{_covered(rate)}")


def _covered(rate: Rate) -> str:
    return f" (coverage {rate.coverage:.1f} %)" if rate.coverage is not None else ""
