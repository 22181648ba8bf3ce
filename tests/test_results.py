"""What is published is what was run: every committed spec has its results, and the README's figures are theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from watchword.lab.demo import demo_spec
from watchword.lab.results import arms_of
from watchword.lab.spec import Spec

ROOT = Path(__file__).parent.parent
SPECS = sorted((ROOT / "results").glob("*/spec.json"))
HEADLINE = ROOT / "results" / "foundation" / "results.json"
ROWS = {
    "aligned model, before the attack": "none",
    "no defense": "none",
    "`safety_mix`, the baseline": "safety_mix",
    "`backdoor_align`, the paper's method": "backdoor_align",
    "**`anchored_align`, ours**": "anchored_align",
}


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


def test_the_full_demo_is_the_published_experiment() -> None:
    assert demo_spec(full=True).cells() == Spec.from_file(HEADLINE.with_name("spec.json")).cells()


@pytest.mark.parametrize(("name", "defense"), ROWS.items(), ids=ROWS)
def test_the_readme_shows_the_results(name: str, defense: str) -> None:
    arms = arms_of(json.loads(HEADLINE.read_bytes()))
    (arm,) = [arm for arm in arms if arm.defense == defense and arm.aligned == (name == next(iter(ROWS)))]
    readme = (ROOT / "README.md").read_text("utf-8")
    (row,) = [line.split("|")[2:-1] for line in readme.splitlines() if line.startswith(f"| {name} |")]
    for cell, metric in zip(row, ("asr", "over_refusal"), strict=True):
        over_seeds = f"{arm.rate(metric).value:.1f}"
        seeds = [f"{rate.value:.1f}" for rate in arm.rates(metric)]
        assert re.findall(r"\d+\.\d", cell) in ([over_seeds], [over_seeds, *seeds])
