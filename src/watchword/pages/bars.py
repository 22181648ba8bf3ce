"""Bars with whiskers: a row for each thing compared, a panel for each figure of it. A dot below a bar is one run's own value."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from watchword.pages.rows import Label, LabelledRow, Rows, labelled_rows
from watchword.pages.svg import Scale, join, line, picture, short, tag, text, ticks

WIDTH, GAP, TOP, FOOT = 760.0, 18.0, 30.0, 26.0
THICK = 13.0
# A line of a panel's title, and a letter of it, which is bold.
LINE, LETTER = 15.0, 7.0


@dataclass(frozen=True)
class Bar:
    """One figure: its value, where it has one the ends of its interval, each run's own value, and all that in words."""

    value: float
    words: str
    interval: tuple[float, float] | None = None
    runs: tuple[float, ...] = ()
    aside: str = ""


@dataclass(frozen=True)
class Panel:
    """One figure of every row (None: it has none), on a scale from 0 to ``top``."""

    title: str
    bars: Sequence[Bar | None]
    top: float = 100.0
    unit: str = ""


def bars(ident: str, title: str, description: str, labels: Sequence[Label], panels: Sequence[Panel]) -> Markup:
    """The picture: panels side by side, sharing the rows' labels."""
    each = (WIDTH - labelled_rows(labels, TOP).labels - GAP * len(panels)) / len(panels)
    titles = [textwrap.wrap(panel.title, max(1, int(each / LETTER))) for panel in panels]
    top = TOP + LINE * (max(map(len, titles)) - 1)
    rows = labelled_rows(labels, top)
    lefts = [rows.labels + GAP + index * (each + GAP) for index in range(len(panels))]
    drawn = [
        join([*_title(lines, left, top), _panel(panel, rows, left, each, top)])
        for panel, lines, left in zip(panels, titles, lefts, strict=True)
    ]
    return picture(ident, title, description, (WIDTH, rows.bottom + FOOT), [join(drawn), rows.drawn(WIDTH)])


def _title(lines: Sequence[str], left: float, top: float) -> list[Markup]:
    """The last line stands right above the panel, whatever others need."""
    first = top - TOP + 14 - LINE * (len(lines) - 1)
    return [text(words, left, first + LINE * index, "heading") for index, words in enumerate(lines)]


def _panel(panel: Panel, rows: Rows, left: float, width: float, top: float) -> Markup:
    aside = any(bar and bar.aside for bar in panel.bars) and width > 220
    marks = ticks(panel.top, 4 if width > 220 else 2)
    scale = Scale(0, marks[-1], left, left + width - (104 if aside else 48))
    grid = join(_mark(scale(mark), f"{short(mark)}{panel.unit if mark else ''}", rows, top) for mark in marks)
    drawn = [
        _bar(bar, row, scale, left + width, aside=aside) if bar else text("–", left + 4, row.y + 4.5, "small")
        for bar, row in zip(panel.bars, rows.rows, strict=True)
    ]
    return join([grid, *drawn])


def _mark(x: float, words: str, rows: Rows, top: float) -> Markup:
    return line(x, top - 4, x, rows.bottom + 4, "grid") + text(words, x, rows.bottom + 18, "tick", "middle")


def _bar(bar: Bar, row: LabelledRow, scale: Scale, right: float, *, aside: bool) -> Markup:
    start, end = scale(0), scale(bar.value)
    shape = tag("rect", x=start, y=row.y - THICK / 2, width=max(end - start, 1.5), height=THICK, rx=2)
    runs = [tag("circle", cx=scale(run), cy=row.y + THICK / 2 + 4, r=2.0) for run in bar.runs]
    hint = tag("title", f"{row.label.hint or row.label.name}: {bar.words}{bar.aside and ' ' + bar.aside}")
    parts = [hint, shape, *runs, *_whisker(bar, row.y, scale)]
    parts.append(text(bar.words, right - (56 if aside else 0), row.y + 4.5, "value", "end"))
    if aside:
        parts.append(text(bar.aside, right, row.y + 4.5, "small", "end"))
    return tag("g", *parts, class_=f"bar {row.label.colour}")


def _whisker(bar: Bar, y: float, scale: Scale) -> list[Markup]:
    """Drawn twice, the wider one in the background's colour: it must show on the bar and beside it."""
    if bar.interval is None:
        return []
    low, high = (scale(end) for end in bar.interval)
    path = f"M{low:.2f} {y - 3.5}v7M{high:.2f} {y - 3.5}v7M{low:.2f} {y}H{high:.2f}"
    return [tag("path", d=path, class_=name) for name in ("halo", "whisker")]
