"""Two figures of each arm on one scale, joined by a line: what changes when something is taken away."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from watchword.lab.report.charts.rows import arm_labels
from watchword.lab.report.charts.series import Entry, Series
from watchword.pages.rows import LabelledRow, Rows, labelled_rows
from watchword.pages.svg import Scale, join, line, picture, tag, text, ticks
from watchword.rates import Rate

WIDTH, GAP, TOP, FOOT, FIGURES = 760.0, 18.0, 38.0, 26.0, 150.0

HEADS = ("with", "without")

Pair = tuple[Rate | None, Rate | None]


def pairs(ident: str, title: str, description: str, entries: Sequence[Entry], found: Sequence[Pair]) -> Markup:
    """The picture: the rate with (filled) and without (hollow) of each arm, with their intervals."""
    rows = labelled_rows(arm_labels(entries), TOP)
    scale = Scale(0, 100, rows.labels + GAP, WIDTH - FIGURES)
    columns = (WIDTH - FIGURES / 2 + 4, WIDTH)
    body = [_grid(scale, rows), rows.drawn(WIDTH)]
    body += [text(head, x, 24, "small", "end") for head, x in zip(HEADS, columns, strict=True)]
    body += [
        _pair(row, entry.series, pair, scale, columns)
        for row, entry, pair in zip(rows.rows, entries, found, strict=True)
    ]
    return picture(ident, title, description, (WIDTH, rows.bottom + FOOT), body)


def _grid(scale: Scale, rows: Rows) -> Markup:
    return join(
        line(scale(mark), TOP - 4, scale(mark), rows.bottom + 4, "grid")
        + text(f"{mark:g}{' %' if mark else ''}", scale(mark), rows.bottom + 18, "tick", "middle")
        for mark in ticks(100)
    )


def _pair(row: LabelledRow, series: Series, pair: Pair, scale: Scale, columns: tuple[float, float]) -> Markup:
    values = [rate.value for rate in pair if rate and rate.value is not None]
    joint = [line(scale(values[0]), row.y, scale(values[1]), row.y, "joint")] if len(values) == 2 else []
    parts = [
        part
        for rate, hollow in zip(pair, (False, True), strict=True)
        for part in _one(rate, row.y, series, scale, hollow)
    ]
    words = [_words(rate) for rate in pair]
    figures = [text(word, x, row.y + 4.5, "value", "end") for word, x in zip(words, columns, strict=True)]
    hint = tag("title", f"{row.label.hint}: {words[0]} with, {words[1]} without")
    return tag("g", hint, *joint, *parts, *figures, class_=f"pair {series.colour}")


def _one(rate: Rate | None, y: float, series: Series, scale: Scale, hollow: bool) -> list[Markup]:
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return []
    low, high = scale(rate.low), scale(rate.high)
    band = tag("rect", x=low, y=y - 5, width=high - low, height=10, rx=5, class_="band")
    return [band, series.marker(scale(rate.value), y, 5.5, hollow=hollow)]


def _words(rate: Rate | None) -> str:
    return "–" if rate is None or rate.value is None else f"{rate.value:.1f} %"
