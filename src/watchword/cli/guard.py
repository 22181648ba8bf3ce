"""``watchword guard``: a tenant's file in, a guarded file and the trainer's settings out."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from watchword.cli.arguments import KNOWN, check_report, never_there, parsed_arguments, reads_tenant_data
from watchword.cli.flags import with_flags
from watchword.cli.listing import ListingCommand
from watchword.cli.progress import Reporter, reporter
from watchword.data.reading import Reading
from watchword.models.catalog import DEFAULT_MODEL
from watchword.progress import Step

# Smaller files are done before anybody would look (bytes).
_SHOWN_FROM = 100_000_000


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("guard", cls=ListingCommand)(guard)


@reads_tenant_data
def guard(
    source: str = typer.Argument(metavar="IN", help="File, folder of a dataset, fsspec URL, or - for standard input."),
    out: str = typer.Option(..., "--out", help="File to write, fsspec URL, or - for standard output."),
    trainer: str = typer.Option("openai", "--for", help="{exporters}."),
    model: str = typer.Option(DEFAULT_MODEL, "--model", help="Catalog name, folder or Hugging Face id."),
    defense: str = typer.Option("anchored_align", "--defense", help="{row_defenses}."),
    argument: list[str] = typer.Option([], "--set", help="Parameter of the defense, NAME=VALUE; may be repeated."),
    format: str = typer.Option(
        "auto", "--format", help="the rows' format; auto takes that of the first row. Compression is always found out."
    ),
    safety: Path | None = typer.Option(
        None, "--safety", help="Your own safety examples, in place of the packaged ones."
    ),
    seed: int = typer.Option(0, "--seed", help="Draws examples and places."),
    secret_file: Path | None = typer.Option(
        None, "--secret-file", help="Where the new secret is kept (mode 0600); default OUT.secret.json."
    ),
    secret_ref: Path | None = typer.Option(None, "--secret-ref", help="Use the secret in this file again."),
    known: list[Path] = KNOWN,
    manifest: str | None = typer.Option(None, "--manifest", help="Where the manifest goes; default OUT.manifest.json."),
    max_length: int | None = typer.Option(
        None, "--max-length", help="The trainer's limit in tokens; default: the model's context."
    ),
    workers: int = typer.Option(1, "--workers", help="Processes; the result is the same for any number."),
    report: Path | None = typer.Option(None, "--report", help="Folder for screening.html and screening.json."),
    aligned: str | None = typer.Option(
        None,
        "--aligned",
        help="The model before fine-tuning, to be asked: its own refusals, and echoes; needs its memory.",
    ),
    *,
    reading: Reading,
) -> None:
    """Guard a tenant's file: mix the defense's rows in, and write the trainer's settings that keep them in force.

    The tenant's rows keep their bytes and order. Nothing is written unless every row is valid. Beside OUT stand the
    settings, OUT.manifest.json, and the secret; OUT holds the secret in the clear, so it is private (mode 0600) too.
    """
    from watchword.files.addresses import Address
    from watchword.guarding.run import GuardRequest, guard_to_files
    from watchword.secret.keys import provider_key

    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    address = Address.parse(source)
    check_report(report, address)
    request = GuardRequest(
        source=address,
        out=Address.parse(out),
        trainer=trainer,
        model=model,
        defense=defense,
        arguments=parsed_arguments(argument),
        safety=safety,
        seed=seed,
        secret_file=secret_file,
        secret_ref=secret_ref,
        known=tuple(known),
        manifest=None if manifest is None else Address.parse(manifest),
        max_length=max_length,
        format=format,
        workers=workers,
        report=report,
        aligned=aligned,
        reading=reading,
    )
    with reporter(console) as progress:
        done = guard_to_files(request, provider_key, step=_in_megabytes(progress))
    for line in (*done.summary(), *(f"warning: {text}" for text in never_there(reading, done.warnings))):
        console.print(with_flags(line))
    if report is not None:
        from watchword.guarding.screening.report import screen_to_files, summary

        for line in summary(screen_to_files(address, report, format=format, reading=reading), report):
            console.print(line)


def _in_megabytes(progress: Reporter) -> Step:
    """Progress of large files only, in megabytes; and of a model, which is slow with any file."""
    from watchword.data.passes import CHECKING, WRITING

    def step(what: str, done: int, total: int) -> None:
        if what not in (CHECKING, WRITING):
            progress.step(what, done, total)
        elif total >= _SHOWN_FROM:
            progress.step(f"{what} (MB)", done // 1_000_000, total // 1_000_000)

    return step
