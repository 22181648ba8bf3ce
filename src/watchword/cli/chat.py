"""``watchword chat``: talk to a fine-tuned model, its secret applied and never shown."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from watchword.cli import terminal
from watchword.cli.stopping import Stopped
from watchword.cli.target import Target, release_or_model

if TYPE_CHECKING:
    from watchword.chat.types import Conversation
    from watchword.models.base import GenerationOptions


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("chat")(chat)


def chat(
    folder: Path = typer.Argument(metavar="DIR", help="What `watchword train` left."),
    message: str | None = typer.Option(None, "--message", "-m", help="Ask this one thing and end."),
    system: str | None = typer.Option(None, "--system", help="System prompt of the conversation."),
    max_new_tokens: int = typer.Option(200, "--max-new-tokens", help="Length of an answer in tokens."),
    temperature: float = typer.Option(0.0, "--temperature", help="0 is greedy."),
    undefended: bool = typer.Option(
        False, "--undefended", help="Talk to weights that have no manifest as they stand, and say so."
    ),
) -> None:
    """Talk to a fine-tuned model, one line at a time; an empty line or Ctrl-D ends, /new begins anew, Ctrl-C ends an answer."""
    from watchword.models.base import GenerationOptions

    options = GenerationOptions(max_new_tokens=max_new_tokens, temperature=temperature)
    target = _target(folder, undefended)
    if target.warning:
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(target.warning)
    interactive = message is None and sys.stdin.isatty()
    turns = _start(system)
    for line in _lines(message, interactive):
        turns = _start(system) if line == "/new" else _answered(target, turns, line, options, interactive)


def _target(folder: Path, undefended: bool) -> Target:
    from watchword.errors import ModelUnavailableError
    from watchword.release.artifact import is_release

    if not undefended and not is_release(folder):
        raise ModelUnavailableError(
            f"{folder} holds no finished training: manifest.json is missing; name a folder that `watchword train` has "
            "finished, or talk to its weights without any secret by --undefended"
        )
    return release_or_model(None, None, None, default=folder, undefended=undefended)


def _answered(
    target: Target, turns: Conversation, line: str, options: GenerationOptions, interactive: bool
) -> Conversation:
    """The conversation with this line and the answer to it, which is shown as it comes.

    In an interactive session Ctrl-C ends the answer. What came of it stays in the conversation. A question without any
    answer does not, since most templates take no two user turns in a row.
    """
    asked = _with_user(turns, line)
    shown, whole = list[str](), True
    try:
        with contextlib.closing(target.defense.stream(target.model, asked, options=options)) as pieces:
            for piece in pieces:
                shown.append(piece.text)
                terminal.write(piece.text)
    except KeyboardInterrupt as stop:
        if isinstance(stop, Stopped) or not interactive:
            raise
        whole = False
    terminal.write("\n")
    return asked.with_answer("".join(shown)) if whole or any(shown) else turns


def _start(system: str | None) -> Conversation:
    from watchword.chat.types import Conversation, Message

    return Conversation(messages=(Message(role="system", content=system),) if system else ())


def _with_user(turns: Conversation, line: str) -> Conversation:
    from watchword.chat.types import Conversation, Message

    return Conversation(messages=(*turns.messages, Message(role="user", content=line)))


def _lines(message: str | None, interactive: bool) -> Iterator[str]:
    """What the user says: the one message, or lines until an empty one."""
    if message is not None:
        yield message
        return
    while True:
        if interactive:
            terminal.write("> ")
        line = sys.stdin.readline()
        if not line.strip():
            return
        yield line.strip()
