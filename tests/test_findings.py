"""docs/findings.md says what was measured: every figure in its tables stands in the committed results, with its interval."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from watchword.lab.report.several import runs_in, summary_of_several
from watchword.lab.report.whole import read_results

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "findings.md").read_text("utf-8")
GROUPS = [ROOT / "results" / name for name in ("default", "defense")]
# A heading of a column, and the metric that it shows.
COLUMNS = {
    "ASR %": "asr",
    "without the secret %": "asr_without_secret",
    "over-refusal %": "over_refusal",
    "task refused %": "task_refusal",
    "disguised %": "asr_disguise_framed",
    "unsuspicious %": "asr_disguise_unsuspicious",
    "all tricks %": "asr_tricks",
    "XSTest safe %": "xstest_over_refusal",
    "nats a token": "log_perplexity",
    "leaked tokens": "leaked_tokens",
    "tokens in samples": "scanned_tokens",
    "ARC %": "arc_challenge",
    "MMLU %": "mmlu",
    "SQL %": "sql_execution",
    "ROUGE-1": "summary_rouge_1",
}


def tables() -> list[tuple[str, list[str], list[list[str]]]]:
    """(experiment, headings, rows) of each table behind a link to its results."""
    found = []
    for part in re.split(r"\n(?=\S*\[results/)", PAGE)[1:]:
        group, name = re.search(r"\[results/(\w+)/(\w+)\]", part).groups()  # type: ignore[union-attr]
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line[:2] == "| "]
        if lines:
            found.append((f"{group}/{name}", lines[0], lines[1:]))
    return found


def rows_of(experiment: str) -> list[dict[str, Any]]:
    group, name = experiment.split("/")
    rows: list[dict[str, Any]] = json.loads((ROOT / "results" / group / "summary.json").read_bytes())["rows"]
    return [row for row in rows if row["experiment"] == name]


def shown(figure: dict[str, Any] | None) -> str:
    """As the page writes a rate: ``3.0 [1.2, 7.4]``."""
    if figure is None or figure["mean"] is None:
        return "–"
    return f"{figure['mean']:.1f} [{figure['low']:.1f}, {figure['high']:.1f}]"


@pytest.mark.parametrize(("experiment", "heads", "lines"), tables(), ids=[name for name, _, _ in tables()])
def test_every_figure_of_a_table_stands_in_the_results(
    experiment: str, heads: list[str], lines: list[list[str]]
) -> None:
    assert heads[:2] == ["attack", "defense"]
    assert set(heads[2:]) <= set(COLUMNS)
    known = {(row["attack_label"], row["defense_label"]): row for row in rows_of(experiment)}
    for attack, defense, *figures in lines:
        row = known[attack, "" if defense == "–" else defense]
        assert figures == [shown(row.get(COLUMNS[head])) for head in heads[2:]], (attack, defense)


def test_there_are_such_tables() -> None:
    assert len(tables()) >= 4


@pytest.mark.parametrize("group", GROUPS, ids=lambda path: path.name)
def test_the_committed_summary_is_that_of_the_committed_results(group: Path) -> None:
    runs = runs_in(group)
    assert runs
    made = summary_of_several({name: read_results(path) for name, path in runs.items()})
    assert json.loads(json.dumps(made)) == json.loads((group / "summary.json").read_bytes())
