"""A rate against a setting: a line a defense, a point a value with its interval, and every run as a small point."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from watchword.lab.report.sweeps import Curve, Sweep
from watchword.lab.results import ArmResult
from watchword.pages.facets import Axis, Facet, facets
from watchword.pages.svg import join, line, picture, tag

# How far apart the lines of one picture stand at the same value, in steps between two values.
APART = 0.06


def sweep_lines(ident: str, title: str, description: str, sweep: Sweep, metrics: Sequence[tuple[str, str]]) -> Markup:
    """The picture: a frame for each attack and each of ``metrics`` (name, heading). Values stand at even distances."""
    attacks = list(dict.fromkeys(curve.attack for curve in sweep.curves))
    frames = [(attack, name, heading) for attack in attacks for name, heading in metrics]
    titles = [heading if len(attacks) == 1 else f"{attack}: {heading}" for attack, _, heading in frames]
    values = sweep.values
    x = Axis(sweep.name, range(len(values)), margin=0.35, words=[f"{value:g}" for value in values])
    y = Axis("percent", [0, 25, 50, 75, 100], margin=4)
    size = {1: (420.0, 230.0), 2: (300.0, 210.0)}.get(len(frames), (200.0, 160.0))
    made, drawn, whole = facets(titles, size, x, y)
    body = [drawn]
    for facet, (attack, name, _) in zip(made, frames, strict=True):
        own = [curve for curve in sweep.curves if curve.attack == attack]
        shifts = [(place - (len(own) - 1) / 2) * APART for place in range(len(own))]
        body += [_curve(facet, curve, name, values, shift) for curve, shift in zip(own, shifts, strict=True)]
    return picture(ident, title, description, whole, body)


def _curve(facet: Facet, curve: Curve, metric: str, values: Sequence[float], shift: float) -> Markup:
    found = [(facet.x(values.index(value) + shift), arm) for value, arm in curve.points if arm.rate(metric) is not None]
    places = [(x, facet.y(_value(arm, metric)), arm) for x, arm in found]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
    joined = [tag("path", d=path, class_="bold")] if len(places) > 1 else []
    points = [_point(facet, curve, arm, metric, x, y) for x, y, arm in places]
    return tag("g", *joined, *points, class_=curve.series.colour)


def _point(facet: Facet, curve: Curve, arm: ArmResult, metric: str, x: float, y: float) -> Markup:
    rate = arm.rate(metric)
    assert rate is not None
    low, high = facet.y(rate.low or 0), facet.y(rate.high or 0)
    runs = [
        tag("circle", cx=x + 5, cy=facet.y(own.value), r=2, class_="run")
        for own in arm.rates(metric)
        if own.value is not None
    ]
    hint = tag("title", f"{arm.label}: {rate.value:.1f} % [{rate.low:.1f}–{rate.high:.1f}]")
    shown = join(runs) if len(runs) > 1 else ""
    return tag("g", hint, line(x, low, x, high, "interval"), shown, curve.series.marker(x, y, 4.5))


def _value(arm: ArmResult, metric: str) -> float:
    rate = arm.rate(metric)
    return (rate.value or 0.0) if rate is not None else 0.0
