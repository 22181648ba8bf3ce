"""Puts the command groups together and turns errors into messages and exit statuses."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import typer
from rich.console import Console
from rich.markup import escape
from typer.exceptions import TyperException

from watchword.cli import (
    align,
    audit,
    backup,
    chat,
    demo,
    evaluate,
    gateway,
    guard,
    keys,
    lab,
    models,
    remote,
    secret,
    serve,
    train,
    validate,
)
from watchword.cli.exits import INTERRUPTED, OUTPUT, exit_status
from watchword.cli.flags import with_flags
from watchword.cli.stopping import stopped_by_signals
from watchword.errors import WatchwordError

app = typer.Typer(
    name="watchword",
    help="Offer fine-tuning without losing your model's safety: attack, guard, train, measure, chat.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"watchword {version('watchword')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Offer fine-tuning without losing your model's safety: attack, guard, train, measure, chat."""


for group in (demo, align, train, chat, evaluate, guard, validate, models, serve, backup):
    group.register(app)
app.add_typer(lab.app, name="lab")
app.add_typer(secret.app, name="secret")
app.add_typer(gateway.app, name="gateway")
app.add_typer(remote.app, name="remote")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status: 0, that of ``exits`` for an error, 2 for wrong usage.

    130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP; whatever stops it, temporary files are gone.
    """
    with stopped_by_signals() as stopped:
        code = _run(arguments)
        return 128 + stopped[0] if stopped else code


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app(args=list(arguments), prog_name="watchword", standalone_mode=False)
    except WatchwordError as error:
        return _failed(with_flags(str(error)), exit_status(error))
    except TyperException as error:
        return _misused(error)
    except (typer.Abort, KeyboardInterrupt):
        return _failed("stopped", INTERRUPTED)
    except OSError as error:
        # What nobody put into better words; typer itself ends quietly when the reader of a pipe goes away.
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{where}{error.strerror or error}", OUTPUT)
    if code == INTERRUPTED:
        # typer turns Ctrl-C into this code.
        return _failed("stopped; finished cells and saved checkpoints are kept", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _misused(error: TyperException) -> int:
    """Wrong options and arguments, in the form of our own errors; typer has printed the help where that is the message."""
    context = getattr(error, "ctx", None)
    hint = f"\nSee `{context.command_path} --help`." if context else ""
    message = error.format_message()
    return _failed(f"{message}{hint}", error.exit_code) if message else error.exit_code


def _failed(message: str, code: int) -> int:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {escape(message)}")
    return code
