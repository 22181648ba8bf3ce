"""Labelled rows under headings: the left side of every chart that has a row for each thing it compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from watchword.pages.svg import CHARACTER, join, shortened, text

ROW, HEADING = 30.0, 34.0
NARROWEST, WIDEST = 110.0, 230.0


@dataclass(frozen=True)
class Label:
    """What names a row. ``colour`` is a class of chart.css, ``detail`` stands smaller below the name.

    Rows that follow one another under the same ``heading`` share it. ``hint`` is the row's name where it must stand alone.
    """

    name: str
    colour: str = "c3"
    heading: str = ""
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True)
class LabelledRow:
    """A label at the height ``y`` of its row's middle."""

    label: Label
    y: float


@dataclass(frozen=True)
class Rows:
    """All rows, the headings between them as (text, y), where they end, and how wide the labels are."""

    rows: tuple[LabelledRow, ...]
    headings: tuple[tuple[str, float], ...]
    bottom: float
    labels: float

    def drawn(self, width: float) -> Markup:
        """Labels and headings in a picture of this width."""
        heads = [text(shortened(head, width), 0, y, "heading") for head, y in self.headings]
        return join([*heads, *(_drawn(row, self.labels) for row in self.rows)])


def labelled_rows(labels: Sequence[Label], top: float) -> Rows:
    """The labels from the height ``top`` downward."""
    rows, headings, y, heading = [], [], top, ""
    for label in labels:
        if label.heading and label.heading != heading:
            headings.append((label.heading, y + HEADING - 12))
            y, heading = y + HEADING, label.heading
        rows.append(LabelledRow(label, y + ROW / 2))
        y += ROW
    longest = max((len(part) for label in labels for part in (label.name, label.detail)), default=0)
    return Rows(tuple(rows), tuple(headings), y, min(max(longest * CHARACTER, NARROWEST), WIDEST))


def _drawn(row: LabelledRow, width: float) -> Markup:
    name, detail = row.label.name, row.label.detail
    if not detail:
        return text(shortened(name, width), 0, row.y + 4.5, "label")
    first = text(shortened(name, width), 0, row.y - 1, "label")
    return first + text(shortened(detail, width * 1.15), 0, row.y + 11, "small")
