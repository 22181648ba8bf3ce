"""results.json as one table for a terminal: a row an arm, over its seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from watchword.benchmarks.base import Metric
from watchword.benchmarks.over_refusal import OVER_REFUSAL
from watchword.benchmarks.policy import ASR
from watchword.lab.results import ArmResult, arms_of, shown_metrics, shown_origins
from watchword.rates import Rate

# Letters in a line of a heading, and rates beside each other: so much fits 80 columns.
WIDTH, RATES = 8, 5


def render_table(results: Mapping[str, Any]) -> Group:
    """One row an arm: rates in percent over all answers of all seeds, their 95 % intervals below, and what it cost.

    ``n`` is the number of scored answers behind the ASR, and below it behind the over-refusal. A rate of which some answers
    could not be scored has the share that could below it. More rates than fit stand in further tables below. Raises
    DataError where these are no results.
    """
    arms = arms_of(results)
    name, seeds = results.get("spec", {}).get("name", "results"), max((len(arm.seeds) for arm in arms), default=0)
    title = f"{name} (percent, 95 % interval; {seeds} seed{'s' * (seeds != 1)})"
    metrics = [metric for metric in shown_metrics(results) if metric.short]
    columns = [_rates(metric, arms) for metric in metrics]
    costs = [
        Column("n", [Text(f"{_scored(arm, ASR)}\n{_scored(arm, OVER_REFUSAL)}") for arm in arms]),
        Column("sec\ntok/s", [Text(f"{_mean(arm, 'seconds')}\n{_mean(arm, 'tokens_per_second')}") for arm in arms]),
    ]
    origins = shown_origins(results)
    # Attack and defense share a column, so that all of it fits 80 columns.
    heading = "\n".join(filter(None, ["attack · defense", " + ".join(origins.values())]))
    names = Column(heading, [Text(_arm(arm, origins)) for arm in arms])
    rest = [columns[at : at + RATES] for at in range(RATES, len(columns), RATES)]
    return Group(
        _table(title, [names, *columns[:RATES], *costs]),
        *(_table("more rates of the same arms", [names, *more]) for more in rest),
    )


@dataclass(frozen=True)
class Column:
    """A heading, and a cell for each arm."""

    heading: str
    cells: Sequence[Text]


def _table(title: str, columns: Sequence[Column]) -> Table:
    """The first column is as wide as there is room; the others are figures."""
    rows = list(zip(*(column.cells for column in columns), strict=True))
    table = Table(
        title=Text(title),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        row_styles=("", "dim") if len(rows) > 8 else None,
    )
    table.add_column(columns[0].heading, overflow="fold", min_width=20)
    for column in columns[1:]:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _rates(metric: Metric, arms: Sequence[ArmResult]) -> Column:
    heading = "\n".join(textwrap.wrap(metric.short, WIDTH, break_long_words=False))
    return Column(heading, [_rate(arm.rate(metric.name), strong=metric.name == ASR.name) for arm in arms])


def _scored(arm: ArmResult, metric: Metric) -> str:
    rate = arm.rate(metric.name)
    return str(rate.n) if rate else "–"


def _arm(arm: ArmResult, origins: Iterable[str]) -> str:
    """``FJAttack, 100`` over ``BackdoorAlign 11 + 0``; where examples are repeated, with the rows that they make."""
    attack = arm.attack_label.replace(" examples", "").replace(" example", "")
    rows = f" ({arm.provider_rows} rows)" if arm.repeated else ""
    return attack if arm.aligned else f"{attack}\n{arm.defense_label} {arm.added(origins)}{rows}".strip()


def _rate(rate: Rate | None, *, strong: bool) -> Text:
    if rate is None or rate.value is None:
        return Text("–")
    text = Text(f"{rate.value:.1f}", style="bold" if strong else "")
    text.append(f"\n[{rate.low:.0f}–{rate.high:.0f}]", style="not bold dim")
    # Rounded down: of which some could not be scored is never "of 100 %".
    return text.append(f"\nof {int(rate.coverage or 0)} %", style="not bold dim") if rate.unscored else text


def _mean(arm: ArmResult, figure: str) -> str:
    value = arm.trained(figure)
    return "–" if value is None else f"{value:.0f}"
