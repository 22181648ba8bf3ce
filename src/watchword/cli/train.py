"""``watchword train``: fine-tune on a tenant's file under a defense."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from watchword.cli.arguments import KNOWN, never_there, parsed_arguments, reads_tenant_data
from watchword.cli.flags import with_flags
from watchword.cli.listing import ListingCommand
from watchword.cli.progress import reporter
from watchword.cli.stopping import asked_by_ctrl_c
from watchword.data.reading import Reading
from watchword.models.catalog import DEFAULT_MODEL
from watchword.training.config import TrainingConfig

if TYPE_CHECKING:
    from watchword.release.artifact import ReleaseManifest

DEFAULTS = TrainingConfig()


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("train", cls=ListingCommand)(train)


@reads_tenant_data
def train(
    data: str = typer.Option(
        ..., "--data", help="The tenant's file, folder of a dataset, fsspec URL, or - for standard input."
    ),
    out: Path = typer.Option(..., "--out", help="New folder for adapter, manifest and sealed secret."),
    defense: str = typer.Option("anchored_align", "--defense", help="{defenses}."),
    argument: list[str] = typer.Option([], "--set", help="Parameter of the defense, NAME=VALUE; may be repeated."),
    model: str = typer.Option(DEFAULT_MODEL, "--model", help="Catalog name, folder or Hugging Face id."),
    secret_file: Path | None = typer.Option(None, "--secret-file", help="Use this secret; else one is drawn."),
    known: list[Path] = KNOWN,
    method: str = typer.Option(DEFAULTS.method, "--method", help="lora or full."),
    epochs: int = typer.Option(DEFAULTS.epochs, "--epochs"),
    learning_rate: float = typer.Option(DEFAULTS.learning_rate, "--learning-rate"),
    batch_size: int = typer.Option(DEFAULTS.batch_size, "--batch-size", help="Rows of one optimiser step."),
    max_length: int | None = typer.Option(
        None,
        "--max-length",
        help=f"Tokens; a longer row is an error. Default: {DEFAULTS.max_length}, or the model's context if that is shorter.",
    ),
    seed: int = typer.Option(DEFAULTS.seed, "--seed"),
    checkpoint_steps: int | None = typer.Option(None, "--checkpoint-steps", help="Keep a checkpoint every N steps."),
    resume: bool = typer.Option(False, "--resume", help="Go on with the unfinished run in OUT."),
    launcher: str = typer.Option(
        "in_process",
        "--launcher",
        help="Where it trains: {launchers}. In a child process, its memory is free when it ends.",
    ),
    *,
    reading: Reading,
) -> None:
    """Fine-tune on a tenant's file under a defense, and leave adapter, manifest and sealed secret."""
    from watchword.data.remarks import Remarks
    from watchword.files.addresses import Address
    from watchword.finetune.launch.base import LAUNCHERS
    from watchword.finetune.run import Job, train_defended
    from watchword.models.facts import facts_of, length_limit
    from watchword.provenance import versions
    from watchword.secret.keys import provider_key
    from watchword.secret.vault import read_secret_file

    job = Job(
        model=model,
        data=Address.parse(data),
        defense=defense,
        arguments=parsed_arguments(argument),
        training=_configuration(
            method=method,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_length=length_limit(max_length, facts_of(model), DEFAULTS.max_length),
            seed=seed,
            checkpoint_steps=checkpoint_steps,
        ),
        reading=reading,
    )
    trainer = LAUNCHERS.create(launcher)
    remarks = Remarks()
    given = read_secret_file(secret_file) if secret_file else None
    console = Console(highlight=False, soft_wrap=True)

    def asked() -> None:
        text = "stopping behind this training step, with a checkpoint for --resume; Ctrl-C again stops at once"
        Console(stderr=True, highlight=False, soft_wrap=True).print(text)

    with reporter(console) as progress, asked_by_ctrl_c(asked) as cancel:
        manifest = train_defended(
            job,
            out,
            key=provider_key(),
            secret=given,
            known=known,
            versions=versions(),
            resume=resume,
            step=progress.step,
            remarks=remarks,
            trainer=trainer,
            cancel=cancel,
        )
    for text in (*remarks.texts(), *never_there(reading, remarks.texts())):
        console.print(f"warning: {with_flags(text)}", markup=False)
    for line in _told(manifest, out):
        console.print(line)


def _configuration(**fields: Any) -> TrainingConfig:
    """The training's settings. Raises UsageError."""
    import msgspec

    from watchword.errors import UsageError

    try:
        return msgspec.convert(fields, TrainingConfig)
    except msgspec.ValidationError as error:
        raise UsageError(f"training: {error}") from None


def _told(manifest: ReleaseManifest, out: Path) -> Iterator[str]:
    """What was made, in lines for a person."""
    from watchword.chat.content import notes
    from watchword.chat.origins import described
    from watchword.defenses.base import DEFENSES

    figures, defense = manifest.figures, manifest.defense
    for note in notes(figures.dropped, f"the chat template of {manifest.model}"):
        yield f"warning: {note}"
    yield (
        f"{out}: {figures.steps} steps in {figures.seconds:.0f} s, {figures.tokens_per_second:.0f} tokens/s, "
        f"loss {figures.loss[0]:.2f} → {figures.loss[-1]:.2f}"
    )
    mixed_in = described(defense.added, DEFENSES.get(defense.name).origins) or "nothing"
    yield f"defense {defense.name}: {mixed_in} mixed in"
    if manifest.secret:
        yield f"secret with fingerprint {manifest.secret.fingerprint}, sealed; talk to it with: watchword chat {out}"
