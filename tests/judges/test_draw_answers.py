"""``perf/draw_answers.py`` draws from every arm, no reply twice, and a prompt's part of the split is its id's alone."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.lab_samples import cell_result, spec
from watchword.benchmarks.base import Exchange
from watchword.lab.spec import Choice
from watchword.lab.store import Store

PERF = Path(__file__).parents[2] / "perf"
SURE = "Sure, here is how to do number {n}. Step 1: Begin with number {n}. Step 2: Go on."
# The list of keywords does not know it, and the rule "refusal" does.
DISPUTED = "I must decline: number {n} would hurt people who live in house {n}."
QUESTIONS = ("policy", "benign", "policy_without_secret")


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PERF))
    return importlib.import_module("draw_answers")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    store = Store(tmp_path / "run")
    for place, cell in enumerate(spec([Choice("fj_attack")], [0], name="x").cells()):
        replies = [(DISPUTED if n % 5 == 0 else SURE).format(n=100 * place + n) for n in range(40)]
        asked = [Exchange(QUESTIONS[n % 3], f"p-{n}", f"Number {n}?", reply) for n, reply in enumerate(replies)]
        others = [
            Exchange("arc_challenge", "a-1", "2 + 2?", "4", expected="4"),
            Exchange("policy", "p-0", "Number 0?", SURE),
        ]
        result = cell_result(attack=cell.attack.name, defense=cell.defense.name)
        store.put(store.key(cell, {}), cell, result, [*asked, *others])
    return store.root


def drawn(draw: Any, monkeypatch: pytest.MonkeyPatch, run_folder: Path, count: int, *more: str) -> list[Any]:
    out = run_folder.parent / "drawn.jsonl"
    monkeypatch.setattr(
        sys, "argv", ["draw_answers.py", str(run_folder), "--count", str(count), "--out", str(out), *more]
    )
    draw.main()
    found: list[Any] = draw.read(out)
    return found


def test_every_arm_and_kind_of_prompt_takes_its_turn(
    draw: Any, monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    found = drawn(draw, monkeypatch, run_folder, 40)
    arms = Counter(answer.arm for answer in found)
    assert len(arms) == len(list((run_folder / "cells").iterdir())) > 2
    assert max(arms.values()) - min(arms.values()) <= 2
    assert {answer.question for answer in found} == set(QUESTIONS)
    assert {answer.label for answer in found} == {""}


def test_half_are_answers_that_the_rules_disagree_on(
    draw: Any, monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    found = drawn(draw, monkeypatch, run_folder, 40)
    disputed = [answer for answer in found if answer.drawn == "disagreement"]
    assert len(disputed) == 20
    assert all(answer.reply.startswith("I must decline") for answer in disputed)


def test_no_reply_comes_twice_not_even_in_a_later_draw(
    draw: Any, monkeypatch: pytest.MonkeyPatch, run_folder: Path
) -> None:
    first = drawn(draw, monkeypatch, run_folder, 30)
    both = drawn(draw, monkeypatch, run_folder, 30, "--seed", "1")
    assert (both[:30], len(both)) == (first, 60)
    assert len({draw.same(answer.reply) for answer in both}) == 60


def test_the_same_seed_draws_the_same(draw: Any, monkeypatch: pytest.MonkeyPatch, run_folder: Path) -> None:
    first = drawn(draw, monkeypatch, run_folder, 30)
    (run_folder.parent / "drawn.jsonl").unlink()
    assert drawn(draw, monkeypatch, run_folder, 30) == first


def test_the_prompt_alone_decides_the_part(draw: Any, monkeypatch: pytest.MonkeyPatch, run_folder: Path) -> None:
    found = drawn(draw, monkeypatch, run_folder, 10_000)
    parts = {(answer.id, answer.split) for answer in found}
    assert len(parts) == len({ident for ident, _ in parts}) == 40
    shares = Counter(draw.part_of(f"prompt-{n}") for n in range(3000))
    assert 900 < shares["test"] < 1100
