"""The split of packaged prompts that a benchmark asks: told apart in ids, digests and keys; older keys stay as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from watchword.benchmarks.base import BENCHMARKS, Setting
from watchword.errors import UsageError
from watchword.lab.evaluation import Evaluation
from watchword.lab.kept import asked_keys
from watchword.lab.spec import Arm, Cell, Choice, Spec, complete
from watchword.lab.store import Store
from watchword.registry import arguments_of
from watchword.safety.library import Split, digest, examples

FILES: dict[str, tuple[Split, ...]] = {
    "policy": ("policy_report",),
    "over_refusal": ("benign_report", "borderline_report"),
    "tricks": ("policy_report",),
}


def cell(benchmarks: dict[str, Any]) -> Cell:
    asked = Evaluation(benchmarks=benchmarks)
    return complete(Spec(name="t", model="m", arms=[Arm(Choice("none"))], seeds=[0], evaluation=asked).cells()[0])


@pytest.mark.parametrize("name", FILES)
def test_the_report_split_asks_other_prompts_under_ids_of_their_own(name: str) -> None:
    everything = {"count": None} if name == "tricks" else {}
    asked = {
        split: {prompt.id for prompt in BENCHMARKS.create(name, split=split, **everything).prompts(Setting())}
        for split in ("eval", "report")
    }
    assert asked["report"] == {row.id for file in FILES[name] for row in examples(file)}
    assert all("-eval-" in id_ for id_ in asked["eval"])
    assert {prompt.id for prompt in BENCHMARKS.create(name, **everything).prompts(Setting())} == asked["eval"]


@pytest.mark.parametrize("name", FILES)
def test_numbers_of_prompts_hold_for_either_split(name: str) -> None:
    counts = {"benign": 3, "borderline": 4} if name == "over_refusal" else {"count": 7}
    prompts = BENCHMARKS.create(name, split="report", **counts).prompts(Setting())
    assert len({prompt.id for prompt in prompts}) == 7


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("split", ["reports", "", "policy_report"])
def test_a_split_that_there_is_not_is_named_beside_the_choices(name: str, split: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}: split is '{split}': .*choose eval \(.+\) or report \(") as caught:
        BENCHMARKS.create(name, split=split)
    assert caught.value.param == "split"


@pytest.mark.parametrize("name", FILES)
def test_only_the_report_split_has_a_digest_of_its_own(name: str) -> None:
    assert BENCHMARKS.create(name).digest() == ""
    assert BENCHMARKS.create(name, split="report").digest() == digest(FILES[name])


@pytest.mark.parametrize("name", FILES)
def test_the_default_split_stands_in_no_key(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    silent, said, other = (cell({name: own}) for own in ({}, {"split": "eval"}, {"split": "report"}))
    # As it was written before there was a split.
    assert "split" not in (silent.evaluation.chosen[name] or {})
    assert store.key(silent, {}) == store.key(said, {}) != store.key(other, {})
    keys = [asked_keys(one, "training", "1", {})[name] for one in (silent, said, other)]
    assert keys[0] == keys[1] != keys[2]


def test_the_arguments_of_the_other_split_make_it_again() -> None:
    benchmark = BENCHMARKS.create("policy", split="report")
    assert arguments_of(benchmark, {}) == {"count": None, "split": "report"}
    assert BENCHMARKS.create("policy", **arguments_of(benchmark, {})) == benchmark
