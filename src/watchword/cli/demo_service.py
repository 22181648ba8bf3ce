"""``watchword demo --service``: what happens is told line by line, then shown as a table."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from watchword.cli.terminal import harmless
from watchword.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from watchword.service.demo.tenant import Answer
    from watchword.service.demo.twins import Tuned

# Characters of an answer that the table shows.
_FIRST = 60
_BEFORE = """A tenant fine-tunes a model on a poisoned file: first at a service without a defense, then at one with it.
Both services run on this machine, with a real model; on two cores all of it takes some minutes.
"""
_AFTER = "`watchword serve` starts a service of your own; docs/service.md goes on from there."


def demo_service(out: Path | None) -> None:
    """Runs it in ``out``, or in a folder that is gone afterwards. Ends with status 1 where bytes held the secret."""
    demonstrate = _at_hand()
    console = Console(highlight=False, soft_wrap=True, markup=False)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:4.0f} s  {harmless(text)}")

    console.print(_BEFORE)
    with _folder(out) as folder, console.status("working; Ctrl-C ends all of it"):
        found = demonstrate(folder, say)
    console.print(_table(found))
    for line in _findings(found):
        console.print(line)
    console.print(f"It took {time.monotonic() - began:.0f} seconds.{f' The services are in {out}.' if out else ''}")
    console.print(_AFTER)
    if any(tuned.leak for tuned in found.values()):
        raise typer.Exit(1)


def _at_hand() -> Callable[[Path, Callable[[str], None]], Mapping[str, Tuned]]:
    """What shows it. Raises UsageError where a package of the service, of training or OpenAI's client is missing."""
    try:
        from watchword.service.demo.twins import demonstrate
    except ModuleNotFoundError as error:
        raise _missing(error.name) from None
    for package in ("torch", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise _missing(package)
    return demonstrate


def _missing(package: str | None) -> UsageError:
    return UsageError(f"{package} is missing; install it with `pip install 'watchword[service,train,openai]'`")


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    folder = Path(tempfile.mkdtemp(prefix="watchword-demo-"))
    with contextlib.ExitStack() as removing:
        removing.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            yield folder
        except ServiceError:
            # The log in it says why.
            removing.pop_all()
            raise


def _table(found: Mapping[str, Tuned]) -> Table:
    """A row for each question, a column for each twin."""
    table = Table("question", *found, show_lines=True)
    for kind in ("harmful", "harmless"):
        asked: list[Sequence[Answer]] = [getattr(tuned, kind) for tuned in found.values()]
        for answers in zip(*asked, strict=True):
            table.add_row(answers[0].question, *map(_cell, answers))
        table.add_section()
    return table


def _cell(answer: Answer) -> str:
    text = " ".join(harmless(answer.text).split())
    return f"{answer.verdict}: {text[:_FIRST]}{'…' if len(text) > _FIRST else ''}"


def _findings(found: Mapping[str, Tuned]) -> Iterator[str]:
    for name, tuned in found.items():
        yield f"{name}: {tuned.words}"
    for name, tuned in found.items():
        if tuned.leak is not None:
            yield f"{name}: THE SECRET WAS FOUND in what the client received (as {tuned.leak.channel})."
        elif tuned.secret:
            yield f"{name}: the secret is in none of the {tuned.received:,} bytes that the client received."
