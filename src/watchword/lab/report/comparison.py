"""Comparisons of arms as a table for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from watchword.files.atomic import replacing
from watchword.lab.compare import ArmComparison

SCHEMA = 1


def comparison_table(found: Sequence[ArmComparison]) -> Table:
    """One row for each pair of arms and metric: both rates, the difference B - A with its interval, and p."""
    title = "B - A in points, 95 % bootstrap interval over prompts; p: McNemar's exact test"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("A\nB", overflow="fold", min_width=20)
    for heading in ("metric", "A\nB", "B - A", "only A\nonly B", "pairs", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        own = one.comparison
        table.add_row(
            Text(one.first if one.first == one.second else f"{one.first}\n{one.second}"),
            one.metric,
            f"{own.first:.1f}\n{own.second:.1f}",
            f"{own.difference:+.1f}\n[{own.low:+.1f}, {own.high:+.1f}]",
            f"{own.only_first}\n{own.only_second}",
            f"{own.pairs}" + (f"\n+{own.unpaired} unscored" if own.unpaired else ""),
            f"{own.p:.2g}",
        )
    return table


def write_comparisons(path: Path, found: Sequence[ArmComparison]) -> None:
    """``{"schema": 1, "comparisons": [...]}``, all or nothing."""
    with replacing(path) as stream:
        stream.write(
            msgspec.json.format(msgspec.json.encode({"schema": SCHEMA, "comparisons": list(found)}), indent=1) + b"\n"
        )
