"""``watchword remote``: fine-tune under a defense where somebody else trains."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from watchword.cli.arguments import KNOWN, parsed_arguments, reads_tenant_data
from watchword.cli.listing import ListingCommand
from watchword.cli.progress import Reporter, paused, reporter
from watchword.data.reading import Reading
from watchword.models.catalog import DEFAULT_MODEL

if TYPE_CHECKING:
    from watchword.release.artifact import ReleaseManifest
    from watchword.remote.notice import Notice, QuestionsNotice
    from watchword.remote.run import RemoteSession

app = typer.Typer(help="Fine-tune under a defense at somebody else's API.", no_args_is_help=True)
YES: Any = typer.Option(False, "--yes", help="Agree to each notice, and upload without a question.")
EVALUATE: Any = typer.Option(
    22, "--evaluate", min=0, help="Prompts of each kind that the tuned model is asked at the end; 0 asks nothing."
)
OUT: Any = typer.Argument(metavar="OUT", help="The folder of the unfinished run.")


@app.command(cls=ListingCommand)
@reads_tenant_data
def run(
    data: str = typer.Option(..., "--data", help="The tenant's file, folder of a dataset, or fsspec URL."),
    model: str = typer.Option(..., "--model", help="The base model, as the API calls it."),
    out: Path = typer.Option(..., "--out", help="New folder for the release: manifest and sealed secret, no weights."),
    profile: str = typer.Option("openai", "--profile", help="The API: {profiles}."),
    base_url: str | None = typer.Option(None, "--base-url", help="The API's address, if it is not the profile's."),
    key_env: str | None = typer.Option(
        None, "--key-env", help="Environment variable with the API's key, if it is not the profile's."
    ),
    tokenizer: str = typer.Option(
        DEFAULT_MODEL,
        "--tokenizer",
        help="Catalog name, folder or Hugging Face id of a model with the remote one's tokenizer and chat template; for a "
        "closed one, of any model.",
    ),
    defense: str = typer.Option("anchored_align", "--defense", help="{row_defenses}."),
    argument: list[str] = typer.Option([], "--set", help="Parameter of the defense, NAME=VALUE; may be repeated."),
    hyperparameter: list[str] = typer.Option(
        [], "--hyperparameter", help="As the API calls it, NAME=VALUE, such as n_epochs=3; may be repeated."
    ),
    secret_tokens: int = typer.Option(150, "--secret-tokens", min=1, help="Length of the secret in tokens."),
    max_length: int | None = typer.Option(None, "--max-length", help="Tokens of the longest row that the API takes."),
    aligned: str | None = typer.Option(
        None, "--aligned", help="Model before fine-tuning, to answer in its own voice; `remote` asks the API's."
    ),
    known: list[Path] = KNOWN,
    suffix: str | None = typer.Option(None, "--suffix", help="For the tuned model's name."),
    seed: int = typer.Option(0, "--seed", min=0, max=2**31 - 1),
    price: float | None = typer.Option(
        None,
        "--price-per-million-tokens",
        min=0,
        help="What the API asks for training, in US dollars, for the estimate.",
    ),
    evaluate: int = EVALUATE,
    yes: bool = YES,
    *,
    reading: Reading,
) -> None:
    """Guard a tenant's file, have an API fine-tune on it, and leave a release: the model's id with its sealed secret."""
    from watchword.remote.run import run_remote
    from watchword.remote.state import RemoteRequest

    request = RemoteRequest(
        profile=profile,
        model=model,
        data=data,
        tokenizer=tokenizer,
        url=base_url,
        key_env=key_env,
        defense=defense,
        arguments=parsed_arguments(argument),
        hyperparameters=parsed_arguments(hyperparameter),
        secret_tokens=secret_tokens,
        max_length=max_length,
        aligned=aligned,
        suffix=suffix,
        seed=seed,
        price=price,
        reading=reading,
    )
    _done(out, lambda session: run_remote(request, out, session), known, yes, evaluate)


@app.command()
def resume(out: Path = OUT, known: list[Path] = KNOWN, evaluate: int = EVALUATE, yes: bool = YES) -> None:
    """Go on with a run that was killed or lost its connection. No second job is created."""
    from watchword.remote.run import resume_remote

    _done(out, lambda session: resume_remote(out, session), known, yes, evaluate)


@app.command()
def cancel(out: Path = OUT) -> None:
    """End the job of an unfinished run, delete its file at the API, and remove what is kept of it here."""
    from watchword.remote.run import cancel_remote

    console = Console(highlight=False, soft_wrap=True, markup=False)
    with _session(console, [], yes=True) as session:
        job = cancel_remote(out, session)
    console.print("no job had been created" if job is None else f"job {job.id}: {job.status}")


@app.command()
def profiles() -> None:
    """List the APIs: their addresses, the variables with their keys, and what may be set."""
    from watchword.remote.profiles.base import PROFILES

    console = Console(highlight=False, soft_wrap=True, markup=False)
    for name in PROFILES.names():
        own = PROFILES.create(name)
        console.print(f"{name}: {own.url or f'--base-url {own.url_example}'}, key in {own.key_env}")
        console.print(f"  {', '.join(f'{field} ({bounds.words})' for field, bounds in own.hyperparameters.items())}")
        console.print(f"  {own.retention}")


def _done(
    out: Path, work: Callable[[RemoteSession], ReleaseManifest], known: list[Path], yes: bool, evaluate: int
) -> None:
    from watchword.errors import RemoteError

    console = Console(highlight=False, soft_wrap=True, markup=False)
    try:
        with _session(console, known, yes=yes) as session:
            manifest = work(session)
    except (RemoteError, KeyboardInterrupt):
        if (out / "work").is_dir():
            Console(stderr=True, soft_wrap=True, markup=False).print(
                "the run is unfinished; a job that it has created goes on there without us\n"
                f"go on by: watchword remote resume {out}\n"
                f"or end it by: watchword remote cancel {out}"
            )
        raise
    _show(console, manifest, out)
    if evaluate:
        _measure(console, out, evaluate)


@contextlib.contextmanager
def _session(console: Console, known: list[Path], *, yes: bool) -> Iterator[RemoteSession]:
    """With progress as the house has it, which rests while a question is asked."""
    from watchword.provenance import versions
    from watchword.remote.run import RemoteSession
    from watchword.secret.keys import provider_key

    key = provider_key()
    with reporter(console) as progress:
        yield RemoteSession(
            key=key,
            agree=lambda notice: _agreed(console, notice, yes, progress),
            known=known,
            versions=versions(),
            step=progress.step,
            tell=progress.say,
        )


def _agreed(console: Console, notice: Notice | QuestionsNotice, yes: bool, shown: Reporter) -> bool:
    from watchword.cli.flags import with_flags
    from watchword.errors import UsageError

    for line in notice.lines:
        console.print(with_flags(line))
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to agree to this; read it, and give --yes")
    with paused(shown):
        return typer.confirm(notice.question)


def _show(console: Console, manifest: ReleaseManifest, out: Path) -> None:
    from watchword.chat.origins import described
    from watchword.defenses.base import DEFENSES

    remote = manifest.remote
    assert remote
    mixed_in = described(manifest.defense.added, DEFENSES.get(manifest.defense.name).origins) or "nothing"
    console.print(f"{out}: {remote.model} at {remote.url}, {manifest.figures.tokens:,} tokens trained")
    console.print(f"defense {manifest.defense.name}: {mixed_in} mixed in")
    if manifest.secret:
        console.print(
            f"secret with fingerprint {manifest.secret.fingerprint}, sealed; talk to it: watchword chat {out}"
        )


def _measure(console: Console, out: Path, count: int) -> None:
    """Asks the tuned model through the release, and shows the rates of the benchmarks that are made for any model."""
    from rich.table import Table

    from watchword.benchmarks.base import BENCHMARKS, Setting, Subject, measure, registered_metrics
    from watchword.cli.target import release_or_model

    target = release_or_model(None, None, None, default=out, undefended=False)
    chosen = [
        BENCHMARKS.create("policy", count=count),
        BENCHMARKS.create("over_refusal", benign=count, borderline=count),
    ]
    with reporter(console) as progress:
        rates, _ = measure(chosen, Subject(target.model, target.defense), Setting(), progress.step)
    table = Table("measure", "%", "95 % interval", "n")
    for name, metric in registered_metrics().items():
        if (rate := rates.get(name)) is not None:
            value = "unscored" if rate.value is None else f"{rate.value:.1f}"
            table.add_row(metric.heading, value, f"{rate.low:.1f} to {rate.high:.1f}", str(rate.n))
    console.print(table)
