"""``perf/lab.py`` on a tiny model: both sides run the same cells, and the ratio is printed."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from support.tiny import saved

PERF = Path(__file__).parents[1] / "perf"


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(PERF))
    yield importlib.import_module("lab")
    # What ``quiet`` turned off for the script's own process.
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("ignore")
def test_a_tiny_table_on_both_sides(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(saved(tmp_path / "model"))
    told = ["--model", model, "--examples", "2", "--defenses", "safety_mix", "--seeds", "0", "--prompts", "1"]
    tiny = [*told, "--epochs", "1", "--port-tokens", "4", "--port-batch", "2", "--launcher", "in_process"]
    monkeypatch.setattr(sys, "argv", ["lab.py", *tiny])
    lab.main()
    found = json.loads(capsys.readouterr().out)
    assert found["ratio_to_straight_port"] > 0
    # The aligned model and one arm; asked one prompt of each kind, with every judge of its metrics.
    assert found["cells"] == 2
    assert found["verdicts"] == 2 * (4 + 3 + 3)
