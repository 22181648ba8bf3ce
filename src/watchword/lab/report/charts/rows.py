"""The labels of charts whose rows are arms: the defense's name, under a heading for each attack."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from watchword.lab.report.charts.series import Entry
from watchword.pages.bars import Panel, bars
from watchword.pages.rows import Label


def arm_labels(entries: Sequence[Entry]) -> list[Label]:
    """One label an arm; settings that tell a defense from another of its name stand below."""
    return [_label(entry) for entry in entries]


def arm_bars(ident: str, title: str, description: str, entries: Sequence[Entry], panels: Sequence[Panel]) -> Markup:
    """Bars with a row an arm."""
    return bars(ident, title, description, arm_labels(entries), panels)


def _label(entry: Entry) -> Label:
    label = entry.arm.attack_label if entry.arm.aligned else entry.arm.defense_label
    name, _, settings = label.partition(" (")
    heading = "" if entry.arm.aligned else entry.arm.attack_label
    return Label(name, entry.series.colour, heading, settings.removesuffix(")"), hint=entry.arm.label)
