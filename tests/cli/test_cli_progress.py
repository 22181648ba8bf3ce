"""Progress: plain lines where nobody watches, bars on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from watchword.cli import progress
from watchword.cli.progress import BarReporter, PlainReporter, reporter


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_pipe_gets_plain_lines(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=80)
    with reporter(console) as made:
        assert isinstance(made, PlainReporter)
        made.step("fine-tuning", 0, 100)
        clock.now += 5
        made.step("fine-tuning", 10, 100)
        clock.now += 15
        made.step("fine-tuning", 40, 100)
        made.step("fine-tuning", 41, 100)
        made.step("fine-tuning", 100, 100)
        made.say("done [1/2]")
    assert lines(console) == [
        "fine-tuning: 0/100",
        "fine-tuning: 40/100, about 30 s left",
        "fine-tuning: 100/100",
        "done [1/2]",
    ]


def test_each_step_begins_its_own_clock(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=80)
    made = PlainReporter(console)
    made.step("first", 1, 2)
    clock.now += 60
    made.step("second", 1, 2)
    assert lines(console) == ["first: 1/2", "second: 1/2"]


def test_a_step_that_comes_again_begins_its_own_clock_and_a_line_is_never_broken(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=20)
    made = PlainReporter(console)
    made.step("fine-tuning", 100, 100)
    clock.now += 1000
    made.step("fine-tuning", 0, 100)
    clock.now += 20
    made.step("fine-tuning", 20, 100)
    assert lines(console) == ["fine-tuning: 100/100", "fine-tuning: 0/100", "fine-tuning: 20/100, about 80 s left"]


def test_a_bar_that_comes_again_is_a_new_one() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with reporter(console) as made:
        assert isinstance(made, BarReporter)
        made.step("fine-tuning", 10, 10)
        (first,) = made.bars.task_ids
        made.step("fine-tuning", 0, 5)
        (second,) = made.bars.task_ids
    assert first != second


def test_a_terminal_gets_bars_with_the_time_left() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with reporter(console) as made:
        assert isinstance(made, BarReporter)
        made.step("loading the model", 1, 1)
        made.step("fine-tuning", 3, 10)
        made.say("a line that stays")
        assert [(task.description, task.completed, task.total) for task in made.bars.tasks] == [("fine-tuning", 3, 10)]
    text = console.file.getvalue()
    assert "a line that stays" in text
    assert "3/10" in text
    assert "left" in text


def test_steps_side_by_side_have_a_line_each(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=80)
    made = PlainReporter(console)
    for done in (0, 1, 2):
        made.step("one: fine-tuning", done, 100)
        made.step("two: asking", done, 100, lane=1)
        clock.now += 1
    assert lines(console) == ["one: fine-tuning: 0/100", "two: asking: 0/100"]


def test_steps_side_by_side_have_a_bar_each() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    with reporter(console) as made:
        assert isinstance(made, BarReporter)
        made.step("one: fine-tuning", 3, 10)
        made.step("two: asking", 4, 20, lane=1)
        made.step("two: asking again", 5, 20, lane=1)
        shown = [(task.description, task.completed) for task in made.bars.tasks]
    assert shown == [("one: fine-tuning", 3), ("two: asking again", 5)]
