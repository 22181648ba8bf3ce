"""Progress of long steps: bars with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
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

    def step(self, what: str, done: int, total: int, *, lane: int = 0) -> None:
        """``done`` of ``total`` parts of ``what`` are finished. Things that go on side by side have a ``lane`` each."""

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


@contextlib.contextmanager
def paused(shown: Reporter) -> Iterator[None]:
    """While inside, no bar moves, so that a question can be read and answered."""
    bars = shown.bars if isinstance(shown, BarReporter) else None
    if bars is not None:
        bars.stop()
    yield
    if bars is not None:
        bars.start()


@dataclass
class _Step:
    """The step in progress in one lane."""

    what: str
    done: int = field(default=0, kw_only=True)

    def goes_on(self, what: str, done: int) -> bool:
        """Whether this is the same step, and not the next one of that name, such as a cell's second training."""
        return what == self.what and done >= self.done


@dataclass
class _Bar(_Step):
    """One that is shown as a bar."""

    task: TaskID


@dataclass
class _Line(_Step):
    """One that is printed, with the times (seconds) at which it began and was last printed."""

    began: float
    printed: float = 0.0


class BarReporter:
    """One bar for the step in progress in each lane; a finished step makes room for the next."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.shown: dict[int, _Bar] = {}

    def step(self, what: str, done: int, total: int, *, lane: int = 0) -> None:
        bar = self.shown.get(lane)
        if bar is None or not bar.goes_on(what, done):
            if bar is not None:
                self.bars.remove_task(bar.task)
            bar = self.shown[lane] = _Bar(what, self.bars.add_task(what, total=total))
        bar.done = done
        self.bars.update(bar.task, completed=done, total=total)

    def say(self, text: str) -> None:
        self.bars.console.print(text)


class PlainReporter:
    """Lines for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.lines: dict[int, _Line] = {}

    def step(self, what: str, done: int, total: int, *, lane: int = 0) -> None:
        now = time.monotonic()
        line = self.lines.get(lane)
        if line is None or not line.goes_on(what, done):
            line = self.lines[lane] = _Line(what, now)
        line.done = done
        if done < total and now - line.printed < PLAIN_EVERY:
            return
        line.printed = now
        self.console.print(
            f"{what}: {done}/{total}{_left(done, total, now - line.began)}", highlight=False, soft_wrap=True
        )

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)


def _left(done: int, total: int, seconds: float) -> str:
    if not 0 < done < total or seconds < 1:
        return ""
    return f", about {seconds * (total - done) / done:.0f} s left"
