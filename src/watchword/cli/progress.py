"""Progress of long steps: bars with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# A plain line at most this often (seconds), and always at a step's beginning and end.
PLAIN_EVERY = 15.0


class Reporter(Protocol):
    """What long-running code tells about itself."""

    def step(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` parts of ``what`` are finished."""

    def say(self, text: str) -> None:
        """One line that stays."""


@contextlib.contextmanager
def reporter(console: Console) -> Iterator[Reporter]:
    """A reporter that fits the console."""
    if not console.is_terminal:
        yield PlainReporter(console)
        return
    with Progress(*_columns(), console=console, transient=True) as bars:
        yield BarReporter(bars)


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )


class BarReporter:
    """One bar for the step in progress; a finished step leaves a line."""

    def __init__(self, bars: Progress) -> None:
        self.bars, self.what = bars, ""
        self.task: TaskID | None = None

    def step(self, what: str, done: int, total: int) -> None:
        if self.task is None or what != self.what:
            if self.task is not None:
                self.bars.remove_task(self.task)
            self.task, self.what = self.bars.add_task(what, total=total), what
        self.bars.update(self.task, completed=done, total=total)

    def say(self, text: str) -> None:
        self.bars.console.print(text)


class PlainReporter:
    """Lines for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console, self.what, self.began, self.printed = console, "", 0.0, 0.0

    def step(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self.what:
            self.what, self.began, self.printed = what, now, 0.0
        if done < total and now - self.printed < PLAIN_EVERY:
            return
        self.printed = now
        self.console.print(f"{what}: {done}/{total}{_left(done, total, now - self.began)}", highlight=False)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)


def _left(done: int, total: int, seconds: float) -> str:
    if not 0 < done < total or seconds < 1:
        return ""
    return f", about {seconds * (total - done) / done:.0f} s left"
