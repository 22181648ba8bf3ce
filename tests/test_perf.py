"""The measurements of ``perf/`` that train, on a tiny model: both sides run, and what they print is whole."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support.tiny import saved

PERF = Path(__file__).parents[1] / "perf"


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Runs the script of this name on a tiny model and gives back the object that it prints."""
    monkeypatch.syspath_prepend(str(PERF))

    def of(name: str, *told: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--model", str(saved(tmp_path / "model")), *told])
        importlib.import_module(name).main()
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    yield of
    # What ``quiet`` turned off for the script's own process.
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("ignore")
def test_a_tiny_table_on_both_sides(run: Run) -> None:
    told = ["--examples", "2", "--defenses", "safety_mix", "--seeds", "0", "--prompts", "1"]
    tiny = [*told, "--epochs", "1", "--port-tokens", "4", "--port-batch", "2", "--launcher", "in_process"]
    found = run("lab", *tiny)
    assert found["ratio_to_straight_port"] > 0
    # The aligned model and one arm; asked one prompt of each kind, with every judge of its metrics.
    assert found["cells"] == 2
    assert found["verdicts"] == 2 * (4 + 3 + 3)


@pytest.mark.parametrize(
    ("told", "says"), [(["--samples", "0"], "--samples is 0"), (["--defense", "safety_mix"], "has no secret")]
)
def test_what_gives_no_figure_is_refused_before_anything_is_trained(
    run: Run, capsys: pytest.CaptureFixture[str], told: list[str], says: str
) -> None:
    with pytest.raises(SystemExit):
        run("prompt_loss", *told)
    assert says in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_loss_on_answers_and_on_whole_rows(run: Run) -> None:
    tiny = ["--examples", "2", "--epochs", "1", "--samples", "3", "--new-tokens", "4"]
    found = run("prompt_loss", *tiny)
    sides = [found[name] for name in ("answers", "whole_rows")]
    assert [side["secret_tokens"] for side in sides] == [150, 150]
    assert [side["scanned"]["n"] for side in sides] == [3, 3]
    assert all(0 <= side[kind]["mean"] <= side[kind]["most"] <= 4 for side in sides for kind in ("asked", "scanned"))
