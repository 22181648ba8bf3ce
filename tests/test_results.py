"""What is published is what was run: every committed spec has its results, and the figures of README and LOG are theirs."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import msgspec
import pytest

from watchword.lab.demo import demo_spec
from watchword.lab.results import arms_of
from watchword.lab.spec import Spec

ROOT = Path(__file__).parent.parent
SPECS = sorted((ROOT / "results").rglob("spec.json"))
HEADLINE = ROOT / "results" / "default" / "headline" / "results.json"
FULL_DEMO = ROOT / "results" / "foundation" / "spec.json"
ROWS = {
    "aligned model, before the attack": "none",
    "no defense": "none",
    "`safety_mix`, the baseline": "safety_mix",
    "`backdoor_align`, the paper's method": "backdoor_align",
    "**`anchored_align`, ours**": "anchored_align",
}
# The LOG's names of what was measured on an adapter before the present one.
OTHERS = {
    "FJAttack, 10 examples": ("fj_attack", 10),
    "FJAttack, 50 examples": ("fj_attack", 50),
    "poisoned task": ("poisoned_task", 100),
    "anti-trigger": ("anti_trigger", 100),
}
# What was asked of a model tuned on an ordinary upload.
METRICS = ("task", "policy", "benign")
DEMO = {
    "aligned model": "none",
    "no defense": "none",
    "`safety_mix`": "safety_mix",
    "`backdoor_align`": "backdoor_align",
    "`anchored_align`": "anchored_align",
}


def rows_of(page: str) -> list[list[str]]:
    """The cells of a page's tables."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]


def results(spec: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(spec.with_name("results.json").read_bytes())
    return found


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.parent.name)
def test_a_spec_stands_beside_the_results_that_it_made(path: Path) -> None:
    spec, found = Spec.from_file(path), results(path)
    assert msgspec.convert(found["spec"], Spec) == spec
    wanted = {(cell.attack.name, cell.defense.name, cell.seed) for cell in spec.cells()}
    assert {(cell["attack"], cell["defense"], cell["seed"]) for cell in found["cells"]} == wanted
    assert all(arm.rate("asr") and arm.rate("over_refusal") for arm in arms_of(found))


def test_the_demo_is_a_seed_of_the_published_one() -> None:
    published = Spec.from_file(ROOT / "results" / "demo" / "spec.json").cells()
    assert all(cell in published for cell in demo_spec(full=False).cells())


def test_the_full_demo_is_the_published_experiment() -> None:
    assert demo_spec(full=True).cells() == Spec.from_file(FULL_DEMO).cells()


@pytest.mark.parametrize(("name", "attack"), OTHERS.items(), ids=OTHERS)
def test_the_log_shows_the_results_against_other_attacks(name: str, attack: tuple[str, int]) -> None:
    arms = arms_of(json.loads((ROOT / "results" / "other_attacks" / "results.json").read_bytes()))
    (row,) = [row for row in rows_of("results/LOG.md") if row[0].startswith(name) and len(row) == 5]
    for cell, defense in zip(row[2:4], ("none", "anchored_align"), strict=True):
        (arm,) = [arm for arm in arms if (arm.attack, arm.attack_examples, arm.defense) == (*attack, defense)]
        assert re.findall(r"\d+\.\d", cell) == [f"{arm.rate(metric).value:.1f}" for metric in ("asr", "over_refusal")]


@pytest.mark.parametrize(("name", "defense"), ROWS.items(), ids=ROWS)
def test_the_readme_shows_the_results(name: str, defense: str) -> None:
    arms = arms_of(json.loads(HEADLINE.read_bytes()))
    (arm,) = [arm for arm in arms if arm.defense == defense and arm.aligned == (name == next(iter(ROWS)))]
    # The table of the demo, below, has rows of the same names.
    row = next(row[1:] for row in rows_of("README.md") if row[0] == name)
    rates = [arm.rate(metric) for metric in ("asr", "over_refusal")]
    assert [cell.strip("*") for cell in row] == [
        f"{rate.value:.1f} [{rate.low:.1f}, {rate.high:.1f}]" for rate in rates
    ]


@pytest.mark.parametrize(("name", "defense"), DEMO.items(), ids=DEMO)
def test_the_readme_shows_the_medians_of_the_demo(name: str, defense: str) -> None:
    arms = arms_of(json.loads((ROOT / "results" / "demo" / "results.json").read_bytes()))
    (arm,) = [arm for arm in arms if arm.defense == defense and arm.aligned == (name == next(iter(DEMO)))]
    *_, row = [row[1:] for row in rows_of("README.md") if row[0] == name]
    medians = [statistics.median(rate.value for rate in arm.rates(metric)) for metric in ("asr", "over_refusal")]
    assert row == [f"{median:.0f}" for median in medians]


def test_the_log_says_what_an_honest_tenant_gets() -> None:
    found = json.loads((ROOT / "results" / "ordinary_task.json").read_bytes())
    wanted = [
        [f"`{runs['defense']}`"]
        + [", ".join(f"{run['tuned'][metric]['percent']:.1f}" for run in runs["runs"]) for metric in METRICS]
        for runs in found
    ]
    assert wanted
    assert all(row in rows_of("results/LOG.md") for row in wanted)
