"""``watchword secret``: making secret prompts, and what may be known of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from watchword.models.catalog import DEFAULT_MODEL

if TYPE_CHECKING:
    from watchword.secret.prompt import SecretPrompt

app = typer.Typer(help="Make secret prompts. Their text is never printed.", no_args_is_help=True)


@app.command()
def new(
    out: Path = typer.Option(..., "--out", help="File to write (mode 0600, never replaced)."),
    model: str = typer.Option(DEFAULT_MODEL, "--model", help="Model whose tokens the secret is made of."),
    tokens: int = typer.Option(150, "--tokens", help="Length in tokens."),
    kind: str = typer.Option(
        "random", "--kind", help="random for production; seeded, default or semantic for experiments."
    ),
    seed: int | None = typer.Option(None, "--seed", help="Seed of a seeded secret."),
) -> None:
    """Draw a secret prompt and keep it in a file."""
    from watchword.errors import UsageError
    from watchword.models.facts import facts_of
    from watchword.secret.keys import provider_key
    from watchword.secret.kinds import new_secret
    from watchword.secret.vault import write_secret_file

    if seed is not None and kind != "seeded":
        raise UsageError(f"--seed {seed} is for --kind seeded; a {kind} secret has none")
    # Before anything is written: the description needs it.
    provider_key()
    secret = new_secret(kind, facts_of(model).template, tokens=tokens, seed=seed)
    write_secret_file(out, secret)
    _describe(out, secret)


@app.command()
def show(file: Path = typer.Argument(metavar="FILE", help="A secret file.")) -> None:
    """Tell what may be known of a secret: fingerprint, kind, length, strength."""
    from watchword.secret.vault import read_secret_file

    _describe(file, read_secret_file(file))


def _describe(path: Path, secret: SecretPrompt) -> None:
    from watchword.secret.keys import provider_key
    from watchword.secret.vault import fingerprint_of

    Console(highlight=False, soft_wrap=True).print(
        f"{path}: {secret.kind} secret, {secret.tokens} tokens, {secret.entropy_bits:.0f} bits, "
        f"fingerprint {fingerprint_of(secret, provider_key())}"
    )
