"""``watchword chat``: talk to a fine-tuned model, its secret applied and never shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

if TYPE_CHECKING:
    from watchword.chat.types import Conversation
    from watchword.finetune import Served
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
) -> None:
    """Talk to a fine-tuned model, one line at a time; an empty line or Ctrl-D ends, /new begins anew."""
    from watchword.finetune import opened
    from watchword.models.base import GenerationOptions
    from watchword.secret.keys import provider_key

    options = GenerationOptions(max_new_tokens=max_new_tokens, temperature=temperature)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    served = opened(folder, key=provider_key())
    turns = _start(system)
    for line in _lines(message, console):
        if line == "/new":
            turns = _start(system)
            continue
        turns = _with_user(turns, line)
        text = _answer(served, turns, options)
        turns = turns.with_answer(text)
        console.print(text)


def _answer(served: Served, turns: Conversation, options: GenerationOptions) -> str:
    from watchword.secret.redact import redact

    guard = served.defense.guard_prompt(turns, served.secret)
    text = served.model.generate([guard.conversation], secret=guard.secret, options=options)[0]
    return redact(text, served.secret) if served.secret else text


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
