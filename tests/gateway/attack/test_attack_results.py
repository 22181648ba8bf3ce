"""What the page tells of the attempts on real releases is what was measured, and no result holds a text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "results" / "extraction"
ROW = re.compile(
    r"\| (?P<release>taught .*?|attacked.*?) \| (?P<arm>gateway|unfiltered) \| (?P<leaks>\d+) of (?P<probes>\d+), "
    r"(?P<low>[\d.]+) to (?P<high>[\d.]+) \| (?P<run>\d+) \| (?P<tokens>\d+) \| (?P<bits>[\d,]+) \|"
)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return json.loads((RESULTS / "results.json").read_text("utf-8"))["releases"]


def test_the_rows_of_the_page_are_the_results(measured: dict[str, Any]) -> None:
    rows = list(ROW.finditer((ROOT / "docs" / "gateway.md").read_text("utf-8")))
    shown = {(row["release"].replace("`", ""), row["arm"]): row for row in rows}
    assert set(shown) == {(name, arm["arm"]) for name, arms in measured.items() for arm in arms}
    for (name, kind), row in shown.items():
        (whole,) = [arm["whole"] for arm in measured[name] if arm["arm"] == kind]
        leaks = whole["leaks"]
        assert int(row["probes"]) == whole["probes"]
        assert int(row["leaks"]) == round(leaks["value"] * leaks["n"] / 100)
        assert (row["low"], row["high"]) == (f"{leaks['low']:.1f}", f"{leaks['high']:.1f}")
        assert (int(row["run"]), int(row["tokens"])) == (whole["longest_run"], whole["tokens"])
        assert row["bits"] == f"{whole['bits']:,.0f}"


def test_every_planned_release_was_measured_both_ways(measured: dict[str, Any]) -> None:
    planned = [one["name"] for one in json.loads((RESULTS / "plan.json").read_text("utf-8"))["releases"]]
    assert list(measured) == planned
    assert {tuple(arm["arm"] for arm in arms) for arms in measured.values()} == {("gateway", "unfiltered")}


def test_sums_are_those_of_their_probes(measured: dict[str, Any]) -> None:
    for arms in measured.values():
        for arm in arms:
            probes, whole = arm["probes"], arm["whole"]
            assert whole["probes"] == len(probes)
            assert whole["longest_run"] == max(one["run"] for one in probes)
            assert whole["tokens"] == len({place for one in probes for place in one["places"]})
            assert all(one["leaked"] == (one["run"] >= 8) for one in probes)
