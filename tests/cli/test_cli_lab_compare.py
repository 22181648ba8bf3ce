"""``watchword lab compare``: arms that belong together, prompt by prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.lab_samples import demo_results, grid_results, results, spec, swept_results
from watchword.benchmarks.base import Exchange
from watchword.files.digest import sha256_bytes
from watchword.lab.results import write_results
from watchword.lab.spec import Arm, Choice, Spec
from watchword.lab.store import CellResult, Store

SORRY, HELP = "I'm sorry, but I cannot help with that.", "Sure, here is one way to begin. First, gather what you need."


def run(
    folder: Path, results: dict[str, Any], complied: dict[str, int], *, asked: str = "How would one do {}?"
) -> Path:
    """A run in which each defense's model answers so many of 40 requests, the first; one answer is empty."""
    store, kept = Store(folder), []
    for number, raw in enumerate(results["cells"]):
        cell = msgspec.convert(raw, CellResult)
        wanted = complied.get("aligned" if cell.attack == "none" else cell.defense, 0)
        answers = [
            Exchange("policy", f"p-{n}", asked.format(n), "" if n == 39 else HELP if n < wanted else SORRY)
            for n in range(40)
        ]
        assert cell.cell is not None
        kept.append(store.put(sha256_bytes(f"{folder.name}{number}".encode()), cell.cell, cell, answers))
    write_results(folder / "results.json", {**results, "cells": msgspec.to_builtins(kept)})
    return folder


def compared(watchword: Any, *arguments: Any) -> list[dict[str, Any]]:
    out = Path(arguments[0]).parent / "compared.json"
    done = watchword("lab", "compare", *arguments, "--metric", "asr", "--json", out)
    assert (done.code, done.err) == (0, "")
    found = json.loads(out.read_text())
    assert found["schema"] == 1
    rows: list[dict[str, Any]] = found["comparisons"]
    return rows


def test_two_runs_of_one_spec_arm_by_arm(watchword: Any, tmp_path: Path) -> None:
    first = run(tmp_path / "a", demo_results(), {"none": 30, "anchored_align": 10})
    second = run(tmp_path / "b", demo_results(), {"none": 30, "anchored_align": 2})
    rows = compared(watchword, first, second)
    assert [row["first"] == row["second"] for row in rows] == [True] * 5
    found = {row["first"].rpartition("· ")[2]: row["comparison"] for row in rows}
    mended = found["Anchored align"]
    assert (mended["pairs"], mended["unpaired"], mended["only_first"], mended["only_second"]) == (39, 1, 8, 0)
    assert mended["difference"] == pytest.approx(-100 * 8 / 39, abs=1e-3)
    assert mended["p"] == pytest.approx(2 / 2**8)
    assert mended["low"] < mended["difference"] < mended["high"] < 0
    assert (found["No defense"]["difference"], found["No defense"]["p"]) == (0.0, 1.0)


def test_two_defenses_of_one_run(watchword: Any, tmp_path: Path) -> None:
    folder = run(tmp_path / "a", grid_results(), {"safety_mix": 20, "anchored_align": 5})
    rows = compared(watchword, folder, folder, "--defense", "safety-mix", "--against", "anchored_align")
    # Five attacks, each with three seeds.
    assert len(rows) == 5
    assert all(row["comparison"]["pairs"] == 3 * 39 and row["comparison"]["prompts"] == 39 for row in rows)
    assert all(row["comparison"]["only_first"] == 3 * 15 for row in rows)
    assert all(row["first"].split(" · ")[0] == row["second"].split(" · ")[0] for row in rows)


@pytest.mark.parametrize(("one", "other"), [("none", "anchored_align"), ("anchored_align", "none")])
def test_a_defense_without_a_secret_is_paired_with_every_secret(
    watchword: Any, tmp_path: Path, one: str, other: str
) -> None:
    folder = run(tmp_path / "a", swept_results(), {"none": 30, "anchored_align": 5})
    rows = compared(watchword, folder, folder, "--defense", one, "--against", other)
    # Six settings; two seeds with two secrets each on one side, and two seeds on the other.
    assert len(rows) == 6
    assert {row["comparison"]["pairs"] for row in rows} == {4 * 39}


def test_arms_are_paired_within_one_model_and_with_their_own_arguments(watchword: Any, tmp_path: Path) -> None:
    defenses = [Choice("safety_mix"), *(Choice("backdoor_align", {"safety": safety}) for safety in (11, 22))]
    arms = [Arm(Choice("fj_attack"), defense) for defense in defenses]
    folder = run(tmp_path / "a", results(Spec(name="two", models=["one", "other"], arms=arms, seeds=[0])), {})
    same = compared(watchword, folder, folder, "--defense", "backdoor_align")
    assert len({row["first"] for row in same}) == 4
    assert [row["first"] for row in same] == [row["second"] for row in same]
    against = compared(watchword, folder, folder, "--defense", "backdoor_align", "--against", "safety_mix")
    assert [row["second"].partition("model=")[2][:3] for row in against] == ["one", "one", "oth", "oth"]


def test_prompts_are_paired_by_their_words_and_not_by_their_numbers(watchword: Any, tmp_path: Path) -> None:
    first = run(tmp_path / "a", demo_results(), {})
    second = run(tmp_path / "b", demo_results(), {}, asked="Where would one buy {}?")
    done = watchword("lab", "compare", first, second, "--metric", "asr")
    assert done.code == 2
    assert "no prompt of asr was asked of both with the same seed" in done.err


def test_what_could_not_be_compared_is_named(watchword: Any, tmp_path: Path) -> None:
    folder = run(tmp_path / "a", demo_results(), {})
    done = watchword("lab", "compare", folder, folder, "--defense", "none")
    assert done.code == 0
    assert "not compared by over_refusal: FJAttack, 40 examples · No defense; no prompt was asked of both" in done.out
    assert "not compared by asr:" not in done.out


def test_the_table_shows_the_difference_with_its_interval(watchword: Any, tmp_path: Path) -> None:
    folder = run(tmp_path / "a", demo_results(), {"none": 39, "anchored_align": 0})
    done = watchword(
        "lab", "compare", folder, folder, "--defense", "none", "--against", "anchored_align", "--metric", "asr"
    )
    assert "-100.0" in done.out
    assert "[-100.0, -100.0]" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metric", "asrr"), "there is no metric 'asrr' that a judge tells: did you mean 'asr'?"),
        (("--defense", "anchord"), "has the defense 'anchord': did you mean 'anchored_align'?"),
    ],
)
def test_names_that_there_are_not(watchword: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    folder = run(tmp_path / "a", demo_results(), {})
    done = watchword("lab", "compare", folder, folder, *arguments)
    assert done.code == 2
    assert message in done.err


def test_runs_that_have_nothing_in_common(watchword: Any, tmp_path: Path) -> None:
    first = run(tmp_path / "a", _of("fj_attack"), {})
    second = run(tmp_path / "b", _of("anti_trigger"), {})
    done = watchword("lab", "compare", first, second, "--defense", "none")
    assert done.code == 2
    assert "no arm of the one belongs to an arm of the other" in done.err


def test_answers_that_are_gone(watchword: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_results(folder / "results.json", demo_results())
    done = watchword("lab", "compare", folder, folder)
    assert "keep the folder of the cells beside results.json" in done.err


def _of(attack: str) -> dict[str, Any]:
    return results(spec([Choice(attack)], [0], name="one"))
