"""results.json as one table for a terminal: a row an arm, over its seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from watchword.benchmarks.base import Metric
from watchword.benchmarks.over_refusal import OVER_REFUSAL
from watchword.benchmarks.policy import ASR
from watchword.lab.results import ArmResult, arms_of, shown_metrics, shown_origins
from watchword.rates import Rate

# Letters of a column's widest line, so that a table of five rates fits 80 columns.
WIDTH = 8


def render_table(results: Mapping[str, Any]) -> Table:
    """One row an arm: rates in percent over all answers of all seeds, their 95 % intervals below, and what it cost.

    ``n`` is the number of scored answers behind the ASR, and below it behind the over-refusal. A rate of which some answers
    could not be scored has the share that could below it. Raises DataError where these are no results.
    """
    arms = arms_of(results)
    name, seeds = results.get("spec", {}).get("name", "results"), max((len(arm.seeds) for arm in arms), default=0)
    table = Table(
        title=Text(f"{name} (percent, 95 % interval; {seeds} seed{'s' * (seeds != 1)})"),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        row_styles=("", "dim") if len(results.get("cells", ())) > 8 else None,
    )
    metrics = [metric for metric in shown_metrics(results) if metric.short]
    origins = shown_origins(results)
    # Attack and defense share a column, so that all of it fits 80 columns.
    table.add_column(
        "\n".join(["attack · defense", " + ".join(origins.values())]).strip(), overflow="fold", min_width=20
    )
    for metric in metrics:
        heading = "\n".join(textwrap.wrap(metric.short, WIDTH))
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("n", "sec\ntok/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in arms:
        table.add_row(*_row(arm, metrics, origins))
    return table


def _row(arm: ArmResult, metrics: Sequence[Metric], origins: Iterable[str]) -> list[Text]:
    counts = [str(rate.n) if rate else "–" for rate in (arm.rate(ASR.name), arm.rate(OVER_REFUSAL.name))]
    return [
        Text(_arm(arm, origins)),
        *(_rate(arm.rate(metric.name), strong=metric.name == ASR.name) for metric in metrics),
        Text("\n".join(counts)),
        Text(f"{_whole(arm.trained('seconds'))}\n{_whole(arm.trained('tokens_per_second'))}"),
    ]


def _arm(arm: ArmResult, origins: Iterable[str]) -> str:
    """``FJAttack, 100`` over ``BackdoorAlign 11 + 0``."""
    attack = arm.attack_label.replace(" examples", "").replace(" example", "")
    return attack if arm.aligned else f"{attack}\n{arm.defense_label} {arm.added(origins)}".strip()


def _rate(rate: Rate | None, *, strong: bool) -> Text:
    if rate is None or rate.value is None:
        return Text("–")
    text = Text(f"{rate.value:.1f}", style="bold" if strong else "")
    text.append(f"\n[{rate.low:.0f}–{rate.high:.0f}]", style="not bold dim")
    return text.append(f"\nof {rate.coverage:.3g} %", style="not bold dim") if rate.unscored else text


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
