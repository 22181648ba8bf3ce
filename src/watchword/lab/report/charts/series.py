"""Which colour and shape a defense has: the same in every picture, in the order in which the results name them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from watchword.lab.results import ArmResult, named
from watchword.pages.svg import tag

# The style sheet defines c0 (the aligned model) and c1 … c8.
COLOURS = 8
# Corners and first angle of each polygon; None is a circle. Colour alone tells nothing to a reader who sees none.
SHAPES: tuple[tuple[int, float] | None, ...] = (None, (4, 45), (4, 0), (3, -90), (5, -90), (3, 90))


@dataclass(frozen=True)
class Series:
    """One defense (or the aligned model, number 0) across all attacks."""

    label: str
    number: int

    @property
    def colour(self) -> str:
        """The class that colours it."""
        return f"c{(self.number - 1) % COLOURS + 1 if self.number else 0}"

    def marker(self, x: float, y: float, radius: float, *, hollow: bool = False) -> Markup:
        """Its shape around a point."""
        classes = f"marker {self.colour}{' hollow' if hollow else ''}"
        shape = SHAPES[self.number % len(SHAPES)]
        if shape is None:
            return tag("circle", cx=x, cy=y, r=radius, class_=classes)
        corners, first = shape
        angles = [math.radians(first + 360 * turn / corners) for turn in range(corners)]
        points = [f"{x + 1.2 * radius * math.cos(a):.2f},{y + 1.2 * radius * math.sin(a):.2f}" for a in angles]
        return tag("polygon", points=" ".join(points), class_=classes)


@dataclass(frozen=True)
class Entry:
    """An arm and how it is drawn."""

    arm: ArmResult
    series: Series


def entries_of(arms: Sequence[ArmResult]) -> list[Entry]:
    """All arms of some results; take a picture's part from these, so that a defense looks the same in each.

    Where there are more arms of a defense than colours, as in a search over settings, they share that of the defense.
    """
    labels = list(dict.fromkeys(arm.defense_label for arm in arms if not arm.aligned))
    names = list(dict.fromkeys(named(arm.defense) for arm in arms if not arm.aligned))
    shared = len(labels) > COLOURS and len(names) < len(labels)
    numbers = {label: number for number, label in enumerate(names if shared else labels, start=1)}
    return [Entry(arm, Series(*_named(arm, numbers))) for arm in arms]


def legend_of(entries: Sequence[Entry]) -> list[Series]:
    """Every series once."""
    return sorted({entry.series for entry in entries}, key=lambda series: (series.number, series.label))


def by_attack(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The entries of each attack, without the aligned model's own."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if not entry.arm.aligned:
            groups.setdefault(entry.arm.attack_label, []).append(entry)
    return groups


def _named(arm: ArmResult, numbers: dict[str, int]) -> tuple[str, int]:
    if arm.aligned:
        return arm.attack_label, 0
    label = arm.defense_label if arm.defense_label in numbers else named(arm.defense)
    return label, numbers[label]
