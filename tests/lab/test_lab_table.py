"""The table in the terminal."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from support.lab_samples import cell_result, demo_results
from watchword.errors import DataError
from watchword.lab.report.table import render_table
from watchword.rates import Rate


def printed(results: dict[str, Any], width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render_table(results))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_arm_and_figure_of_the_demo_is_there() -> None:
    text = printed(demo_results())
    for expected in (
        "Aligned model",
        "No defense",
        "Safety mix",
        "BackdoorAlign",
        "Anchored align",
        "98.5",
        "[92–100]",
    ):
        assert expected in text
    assert "11 + 22" in text
    assert "66" in text


def test_it_fits_a_narrow_terminal_with_every_name_in_one_piece() -> None:
    text = printed(demo_results(), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "FJAttack" in text
    assert "BackdoorAlign 11" in text


def test_the_tenants_own_task_has_a_column_where_it_was_asked() -> None:
    asked = {"asr": Rate.of(4, 110), "task_refusal": Rate.of(7, 60)}
    text = printed({"cells": msgspec.to_builtins([cell_result(metrics=asked)])}, width=80)
    assert "task" in text
    assert "11.7" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "task" not in printed(demo_results())


def test_what_was_not_scored_is_a_dash() -> None:
    cells = [cell_result(metrics={"asr": Rate.of(0, 0, unscored=3)}, train=None)]
    first, second = printed({"cells": msgspec.to_builtins(cells)}).splitlines()[-2:]
    # The rate, its n and that of the over-refusal, seconds and tokens a second.
    assert (first.count("–"), second.count("–")) == (3, 2)


def test_a_rate_says_of_how_many_answers_it_tells() -> None:
    cells = [cell_result(metrics={"asr": Rate.of(2, 96, unscored=4), "over_refusal": Rate.of(1, 50)}, train=None)]
    text = printed({"cells": msgspec.to_builtins(cells)}, width=80)
    assert text.count("of 96 %") == 1
    assert "of 100 %" not in text


def test_names_are_no_markup() -> None:
    cells = [cell_result(defense="[red]x[/red]")]
    assert "[red]x[/red]" in printed({"cells": msgspec.to_builtins(cells)}).lower()


def test_what_is_no_results_file_is_refused() -> None:
    with pytest.raises(DataError):
        render_table({"cells": [1]})
