"""results.json as one table for a terminal: a row an arm, over its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from watchword.lab.results import ArmResult, arms_of
from watchword.lab.stats import Rate

# (heading, metric): each cell shows the rate in percent, and its interval below.
RATES = (
    ("ASR", "asr"),
    ("ASR, no\nsecret", "asr_without_secret"),
    ("over-\nrefusal", "over_refusal"),
    ("benign", "over_refusal_benign"),
    ("border-\nline", "over_refusal_borderline"),
)


def render_table(results: Mapping[str, Any]) -> Table:
    """One row an arm: rates in percent over all answers of all seeds, their 95 % intervals below, and what it cost.

    ``n`` is the number of scored answers behind the ASR, and below it behind the over-refusal. Raises DataError where
    these are no results.
    """
    table = Table(
        title=Text(f"{results.get('spec', {}).get('name', 'results')} (percent, 95 % interval)"),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        row_styles=("", "dim") if len(results.get("cells", ())) > 8 else None,
    )
    table.add_column("attack", overflow="fold")
    table.add_column("defense\nsafety + anchors", overflow="fold")
    for heading, _ in RATES:
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("n", "seeds", "train s", "tok/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in arms_of(results):
        table.add_row(*_row(arm))
    return table


def _row(arm: ArmResult) -> list[Text]:
    name, _, examples = arm.attack_label.partition(", ")
    counts = [str(rate.n) if rate else "–" for rate in (arm.rate("asr"), arm.rate("over_refusal"))]
    return [
        Text(f"{name}\n{examples}".strip()),
        Text("–" if arm.aligned else f"{arm.defense_label}\n{arm.provider_rows}".strip()),
        *(_rate(arm.rate(metric), strong=metric == "asr") for _, metric in RATES),
        Text("\n".join(counts)),
        Text(str(len(arm.seeds))),
        Text(_whole(arm.trained("seconds"))),
        Text(_whole(arm.trained("tokens_per_second"))),
    ]


def _rate(rate: Rate | None, *, strong: bool) -> Text:
    if rate is None or rate.value is None:
        return Text("–")
    text = Text(f"{rate.value:.1f}", style="bold" if strong else "")
    return text.append(f"\n[{rate.low:.0f}–{rate.high:.0f}]", style="not bold dim")


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
