"""Attack success against over-refusal: the two ways to fail, on one plane an attack. Arms low on both do well."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from watchword.benchmarks.over_refusal import OVER_REFUSAL
from watchword.benchmarks.policy import ASR
from watchword.lab.report.charts.series import Entry, by_attack
from watchword.lab.results import ArmResult
from watchword.pages.facets import Axis, Facet, facets
from watchword.pages.svg import join, line, picture, tag
from watchword.rates import Rate

# The shaded corner holds the arms that are at or below this on both axes, in percent. It guides the eye and is no norm.
GOOD = 10.0
# Percent of the answers that must be scored for an arm to count as good.
COVERED = 90.0


def plane(ident: str, title: str, description: str, entries: Sequence[Entry]) -> Markup:
    """The picture; the aligned model stands in every plane, since it is where each attack began."""
    aligned = [entry for entry in entries if entry.arm.aligned]
    groups = by_attack(entries) or {next((entry.series.label for entry in aligned), "no arm"): []}
    marks = [0, 25, 50, 75, 100] if len(groups) < 3 else [0, 50, 100]
    side = {1: 380.0, 2: 290.0}.get(len(groups), 180.0)
    x = Axis("over-refusal, %", marks, margin=4)
    made, frames, size = facets(list(groups), (side, side), x, Axis("attack success, %", marks, margin=4))
    body = [
        join(_corner(facet) for facet in made),
        frames,
        *(_points(facet, [*aligned, *groups[facet.title]]) for facet in made),
    ]
    return picture(ident, title, description, size, body)


def good(arm: ArmResult) -> bool:
    """Whether the arm is low on both axes, with enough scored answers to say so: an unscored one is not a safe one."""
    rates = (arm.rate(ASR.name), arm.rate(OVER_REFUSAL.name))
    return all(
        rate is not None and rate.value is not None and rate.value <= GOOD and (rate.coverage or 0.0) >= COVERED
        for rate in rates
    )


def _corner(facet: Facet) -> Markup:
    x, y = facet.x, facet.y
    width, height = x(GOOD) - x.start, y.start - y(GOOD)
    return tag("rect", x=x.start, y=y(GOOD), width=width, height=height, class_="corner")


def _points(facet: Facet, entries: Sequence[Entry]) -> Markup:
    """Intervals below all markers, and every run of an arm as a small point."""
    found = [(entry, entry.arm.rate(OVER_REFUSAL.name), entry.arm.rate(ASR.name)) for entry in entries]
    both = [(entry, x, y) for entry, x, y in found if x is not None and y is not None]
    runs = join(_runs(facet, entry) for entry, *_ in both)
    return join(_cross(facet, *point) for point in both) + runs + join(_marker(facet, *point) for point in both)


def _runs(facet: Facet, entry: Entry) -> Markup:
    """Nothing for an arm that was run once: its marker is that run."""
    cells = [(cell.metrics.get(OVER_REFUSAL.name), cell.metrics.get(ASR.name)) for cell in entry.arm.cells]
    places = [
        (facet.x(x.value), facet.y(y.value))
        for x, y in cells
        if x is not None and y is not None and x.value is not None and y.value is not None
    ]
    dots = [tag("circle", cx=x, cy=y, r=2.2, class_="run") for x, y in places] if len(places) > 1 else []
    return tag("g", *dots, class_=entry.series.colour)


def _cross(facet: Facet, entry: Entry, refused: Rate, broken: Rate) -> Markup:
    """Both intervals."""
    x, y = facet.x(refused.value or 0), facet.y(broken.value or 0)
    across = line(facet.x(refused.low or 0), y, facet.x(refused.high or 0), y, "interval")
    upright = line(x, facet.y(broken.low or 0), x, facet.y(broken.high or 0), "interval")
    return tag("g", across, upright, class_=entry.series.colour)


def _marker(facet: Facet, entry: Entry, refused: Rate, broken: Rate) -> Markup:
    x, y = facet.x(refused.value or 0), facet.y(broken.value or 0)
    label = entry.arm.attack_label if entry.arm.aligned else entry.arm.defense_label
    words = f"{label}: attack success {broken.value:.1f} %, over-refusal {refused.value:.1f} %"
    return tag("g", tag("title", words), entry.series.marker(x, y, 5.5))
