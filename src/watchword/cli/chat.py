"""``watchword chat``: talk to a fine-tuned model, its secret applied and never shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from watchword.cli.target import Target, is_release, release_or_model

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
    """Talk to a fine-tuned model, one line at a time; an empty line or Ctrl-D ends, /new begins anew."""
    from watchword.models.base import GenerationOptions

    options = GenerationOptions(max_new_tokens=max_new_tokens, temperature=temperature)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    target = _target(folder, undefended)
    if target.warning:
        Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(target.warning)
    turns = _start(system)
    for line in _lines(message, console):
        if line == "/new":
            turns = _start(system)
            continue
        turns = _with_user(turns, line)
        text = _answer(target, turns, options)
        turns = turns.with_answer(text)
        console.print(text)


def _target(folder: Path, undefended: bool) -> Target:
    from watchword.errors import ModelUnavailableError

    if not undefended and not is_release(folder):
        raise ModelUnavailableError(
            f"{folder} holds no finished training: manifest.json is missing; name a folder that `watchword train` has "
            "finished, or talk to its weights without any secret by --undefended"
        )
    return release_or_model(None, None, None, default=folder, undefended=undefended)


def _answer(target: Target, turns: Conversation, options: GenerationOptions) -> str:
    from watchword.secret.redact import redact

    guard = target.defense.guard_prompt(turns, target.secret)
    text = target.model.generate([guard.conversation], secret=guard.secret, options=options)[0].text
    return redact(text, target.secret) if target.secret else text


def _start(system: str | None) -> Conversation:
    from watchword.chat.types import Conversation, Message

    return Conversation(messages=(Message(role="system", content=system),) if system else ())


def _with_user(turns: Conversation, line: str) -> Conversation:
    from watchword.chat.types import Conversation, Message

    return Conversation(messages=(*turns.messages, Message(role="user", content=line)))


def _lines(message: str | None, console: Console) -> Iterator[str]:
    """What the user says: the one message, or lines until an empty one."""
    if message is not None:
        yield message
        return
    while True:
        if sys.stdin.isatty():
            console.print("> ", end="")
        line = sys.stdin.readline()
        if not line.strip():
            return
        yield line.strip()
