"""A row an arm, under a heading for each attack: the left side of every chart whose rows are arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from watchword.lab.report.charts.series import Entry, Series
from watchword.lab.results import ArmResult
from watchword.pages.svg import CHARACTER, join, shortened, text

ROW, HEADING = 30.0, 34.0
NARROWEST, WIDEST = 110.0, 230.0


@dataclass(frozen=True)
class ArmRow:
    """An arm at the height ``y`` of its middle."""

    arm: ArmResult
    series: Series
    y: float


@dataclass(frozen=True)
class Rows:
    """All rows, the headings between them as (text, y), where they end, and how wide the labels are."""

    rows: tuple[ArmRow, ...]
    headings: tuple[tuple[str, float], ...]
    bottom: float
    labels: float

    def drawn(self, width: float) -> Markup:
        """Labels and headings in a picture of this width."""
        heads = [text(shortened(head, width), 0, y, "heading") for head, y in self.headings]
        return join([*heads, *(_label(row, self.labels) for row in self.rows)])


def arm_rows(entries: Sequence[Entry], top: float) -> Rows:
    """The entries from the height ``top`` downward."""
    rows, headings, y, attack = [], [], top, ""
    for arm, series in ((entry.arm, entry.series) for entry in entries):
        if not arm.aligned and arm.attack_label != attack:
            headings.append((arm.attack_label, y + HEADING - 12))
            y, attack = y + HEADING, arm.attack_label
        rows.append(ArmRow(arm, series, y + ROW / 2))
        y += ROW
    longest = max((len(part) for row in rows for part in _lines(row.series.label)), default=0)
    return Rows(tuple(rows), tuple(headings), y, min(max(longest * CHARACTER, NARROWEST), WIDEST))


def _label(row: ArmRow, width: float) -> Markup:
    """The defense's name; its settings, if any tell it from another, smaller below."""
    name, settings = _lines(row.series.label)
    if not settings:
        return text(shortened(name, width), 0, row.y + 4.5, "label")
    first = text(shortened(name, width), 0, row.y - 1, "label")
    return first + text(shortened(settings, width * 1.15), 0, row.y + 11, "small")


def _lines(label: str) -> tuple[str, str]:
    name, _, settings = label.partition(" (")
    return name, settings.removesuffix(")")
